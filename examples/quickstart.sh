#!/bin/sh
# Carries a Compose file and its three images across an air gap, on one machine: sh examples/quickstart.sh
#
# Two values of AIRGAP_HOME stand in for the two sides, a folder for the USB stick, and `airgap serve` for the
# registry on the internet. Your own AIRGAP_HOME is not touched. If a Docker engine answers, the images are
# loaded into it, and removed again at the end. All files stay in .quickstart/run. Needs Python >= 3.11.
set -eu
repository=$(cd "$(dirname "$0")/.." && pwd)
. "$repository/examples/setup.sh"

server=
prefix=
cleanup() {
    code=$?
    trap - EXIT
    [ -z "$server" ] || kill "$server" 2>/dev/null || :
    [ -z "$prefix" ] || "$python" "$repository/examples/docker_images.py" remove "$prefix" || code=1
    [ "$code" = 0 ] || printf '\nThe quickstart did not come to its end (exit code %s).\n' "$code" >&2
    exit "$code"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

environment
run_folder run
AIRGAP_PASSPHRASE=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n') # of a key that lives as long as this folder
export AIRGAP_PASSPHRASE

say 'Sample images, served by a small registry that stands in for the internet'
"$python" "$repository/examples/sample_images.py" images
printf '       $ airgap serve images --port 0\n'
"$here/venv/bin/airgap" serve images --port 0 > serve.txt 2> serve.log &
server=$!
until address=$(sed -n 's,.* at http://\([0-9.:]*\) .*,\1,p' serve.txt) && [ -n "$address" ]; do
    kill -0 "$server" 2>/dev/null || fail 'the registry did not start'
    sleep 0.1
done
cat serve.txt

say 'What a person has: a Compose file'
sed "/^#/d; s/127\.0\.0\.1:[0-9]*/$address/" "$repository/examples/compose.yaml" > compose.yaml
cat compose.yaml

say 'ONLINE: find the images that it runs. The result is a manifest: what to carry'
online airgap discover compose.yaml -o stack.yaml --name stack --platform linux/amd64
cat stack.yaml

say 'ONLINE, once: make a signing key, a trust root and a ledger. The fingerprint crosses by phone'
keep init.txt online airgap init --owner alice --site hq
fingerprint=$(sed -n 's/^ *fingerprint //p' init.txt | tr -d ' ')

say 'Pin every tag to its digest'
keep lock.txt online airgap lock stack.yaml

say 'Copy the Compose file with the names and digests of the other side, and carry the copy too'
online airgap discover compose.yaml --rewrite rewritten --lock stack.lock.yaml --map "$address=quickstart.example"
printf 'files:\n  - {folder: rewritten, match: "**/*"}\n' >> stack.yaml
online airgap lock stack.yaml

say 'What would be carried? Only metadata is read for the answer'
mkdir stick
online airgap plan stack.yaml --to stick

say 'Pull everything into one signed bundle on the stick'
online airgap pack stack.yaml --to stick
bundle=stick/stack-0001

say 'OFFLINE, once: trust the sender, after comparing the fingerprint from the phone call'
offline airgap trust install "$bundle" --site plant-7 --fingerprint "$fingerprint"

say 'What has arrived, and who signed it?'
offline airgap inspect "$bundle"

say 'Is every byte as it was signed?'
offline airgap verify "$bundle"

say 'And if one byte of a copy is flipped?'
cp -R "$bundle" flipped
"$python" - flipped/blobs/sha256/* <<'END'
import os, sys
with open(max(sys.argv[1:], key=os.path.getsize), "r+b") as file:
    file.seek(1000)
    byte = file.read(1)[0]
    file.seek(1000)
    file.write(bytes([byte ^ 1]))
END
refused 12 offline airgap verify flipped

say 'Load the images into a folder that any OCI tool reads, under the names of this site, and the Compose file'
into() { offline airgap load "$bundle" --to "$@" --map "$address=quickstart.example"; }
keep load.txt into oci:loaded --files-to site
receipt=$(sed -n 's/^receipt: //p' load.txt)

say 'Loading again does nothing'
keep again.txt into oci:loaded --files-to site
says again.txt 'nothing to do'

say 'The Compose file on the other side: only the names of images differ'
cat site/compose.yaml

if names=$("$python" "$repository/examples/docker_images.py" has quickstart.example/ 2>/dev/null); then
    [ -z "$names" ] || fail "this Docker engine has images under quickstart.example/ already: $names"
    say 'A Docker engine answers: load into it too'
    prefix=quickstart.example/
    into docker
else
    say 'No Docker engine answers here, so nothing is loaded into one'
fi

say 'The signed receipt, to take back: what was loaded, with which digests'
"$python" -c 'import base64, json, sys; print(base64.b64decode(json.load(sys.stdin)["payload"]).decode())' < "$receipt"

say 'What each side recorded'
online airgap audit log
offline airgap audit log

say 'Was the ledger changed since then?'
online airgap audit verify
offline airgap audit verify

for digest in $(grep -o 'sha256:[0-9a-f]*' lock.txt); do
    says again.txt "$digest"
done
say "Done: the digests on the offline side are those of the registry. Look around in $here/run"
