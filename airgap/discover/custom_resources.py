"""Tables of the custom resources that people use: which of their fields are images, and which have none."""

import re
from typing import Final

CORE_GROUPS: Final = frozenset({
    "", "apps", "batch", "extensions", "autoscaling", "policy", "certificates.k8s.io", "networking.k8s.io",
    "storage.k8s.io", "scheduling.k8s.io", "coordination.k8s.io", "node.k8s.io", "discovery.k8s.io",
    "events.k8s.io", "rbac.authorization.k8s.io", "authorization.k8s.io", "authentication.k8s.io",
    "apiregistration.k8s.io", "flowcontrol.apiserver.k8s.io", "internal.apiserver.k8s.io",
    "resource.k8s.io", "storagemigration.k8s.io", "apps.openshift.io",
})  # fmt: skip
"""Groups of Kubernetes itself, and OpenShift's DeploymentConfig: only pod templates in them name images."""

_WITHOUT_IMAGES: Final = re.compile(
    r"(?:.*\.)?(?:apiextensions\.k8s\.io|admissionregistration\.k8s\.io|gatekeeper\.sh|kyverno\.io|sigstore\.dev"
    r"|wgpolicyk8s\.io|image\.toolkit\.fluxcd\.io|cert-manager\.io|gateway\.networking\.k8s\.io"
    r"|aquasecurity\.github\.io|rbac\.authorization\.k8s\.io|kubewarden\.io|snapshot\.storage\.k8s\.io"
    r"|config\.kubernetes\.io|kustomize\.config\.k8s\.io|externaldns\.k8s\.io|external-secrets\.io)"
)
"""Groups of schemas, policies and reports: images in them are patterns and descriptions, and nothing starts
them.
"""

_WELL_KNOWN: Final = re.compile(
    r"(?:.*\.)?(?:monitoring\.coreos\.com|cnpg\.io|ceph\.rook\.io|kubevirt\.io|strimzi\.io|victoriametrics\.com"
    r"|min\.io|k8s\.elastic\.co|argoproj\.io|tekton\.dev|knative\.dev|kserve\.io|opentelemetry\.io"
    r"|jaegertracing\.io|grafana\.integreatly\.org|percona\.com|acid\.zalan\.do|rabbitmq\.com|mariadb\.com"
    r"|mysql\.oracle\.com|mongodb\.com|keycloak\.org|altinity\.com|datastax\.com|k8ssandra\.io|solr\.apache\.org"
    r"|flink\.apache\.org|sparkoperator\.k8s\.io|ray\.io|kubeflow\.org|volcano\.sh|kruise\.io|banzaicloud\.io"
    r"|spotahome\.com|redis\.opstreelabs\.in|scylladb\.com|crunchydata\.com|operators\.coreos\.com|etcd\.database\.coreos\.com"
    r"|cassandra\.apache\.org|opensearch\.opster\.io|nifi\.konpyutaika\.com|metallb\.io|awx\.ansible\.com)"
)
"""Groups of operators whose field `image` is known to be the image that they start."""

STARTING_KEYS: Final = frozenset({
    "replicas", "instances", "numberOfInstances", "size", "nodes", "nodeSets", "version", "storage",
    "volume", "volumeClaimTemplate", "resources", "podTemplate", "deploymentMode", "components", "variant",
    "calicoNetwork", "service_type", "postgres_configuration_secret", "zookeeper", "kafka", "pools",
    "clusterSize",
})  # fmt: skip
"""Fields in the specification of a resource whose operator starts pods for it."""

_CONFIGURATION: Final = re.compile(
    r"(?:.*\.)?(?:cluster\.x-k8s\.io|keda\.sh|istio\.io|traefik\.io|traefik\.containo\.us|crd\.projectcalico\.org"
    r"|cilium\.io|linkerd\.io|metallb\.io|crossplane\.io|karpenter\.sh|karpenter\.k8s\.aws|toolkit\.fluxcd\.io"
    r"|operators\.coreos\.com|tekton\.dev|config\.openshift\.io|route\.openshift\.io|image\.openshift\.io"
    r"|template\.openshift\.io|build\.openshift\.io|project\.openshift\.io|security\.openshift\.io|argoproj\.io"
    r"|helm\.cattle\.io|longhorn\.io|autoscaling\.k8s\.io|zarf\.dev|hauler\.cattle\.io|k8s\.cni\.cncf\.io)"
)
"""Groups of resources that configure, or whose images their other fields name."""

_PARTS: Final = re.compile(
    r"(?:Topic|User|Rebalance|Access|Policy|Role|Binding|Config|Configuration|Template|Class|Schedule|Backup"
    r"|Database|Monitor|Rule|Probe|Dashboard|DataSource|Folder|Claim|Pool|Snapshot|Volume|Secret|Catalog)$"
)
"""Kinds that describe a part of what another resource starts: `KafkaTopic`."""

IGNORED_KINDS: Final = frozenset({
    "CustomResourceDefinition", "ImagePolicy", "ImageRepository", "ImageContentSourcePolicy",
    "ClusterImagePolicy", "ImageDigestMirrorSet", "ImageTagMirrorSet", "ClusterPolicyReport",
    "PolicyReport", "PackageManifest", "OCIRepository", "HelmRepository", "GitRepository",
    "ConstraintTemplate",
})  # fmt: skip


def is_core(group: str) -> bool:
    """Return whether only pod templates and ConfigMaps of `group` name images."""
    return group in CORE_GROUPS


def has_no_images(group: str, kind: str) -> bool:
    """Return whether resources of this kind describe or judge images, and start none."""
    if group == "nvidia.com":
        return False
    return kind in IGNORED_KINDS or bool(_WITHOUT_IMAGES.fullmatch(group))


def is_well_known(group: str) -> bool:
    """Return whether the field `image` of the group's resources is known to be an image that runs."""
    return bool(_WELL_KNOWN.fullmatch(group))


def is_configuration(group: str, kind: str) -> bool:
    """Return whether resources of this kind start no pods of their own."""
    is_part = bool(_PARTS.search(kind))
    return is_part or is_core(group) or group.endswith("k8s.io") or bool(_CONFIGURATION.fullmatch(group))
