"""Docker and podman: their engines, and the registry logins that their clients leave.

engine   `DockerEngine`: an engine as source and as target
logins   `DockerLogins`: the registry logins; without the SDK, which takes long to import
context  the address of the engine that `docker` or `podman` would use
dial     connections to an engine, by the SDK
client   requests to an engine, and its answers, bounded
streams  large transfers
answers  reads the engine's documents
hints    explanations of failures
config   Docker's `config.json`
helper   credential helpers
"""
