"""Field numbers of the CRI v1 messages that the agent uses, and of containerd's events and snapshots. Data only.

Sources: kubernetes/cri-api, pkg/apis/runtime/v1/api.proto; containerd, api/services/events/v1/events.proto,
api/events/task.proto, api/services/snapshots/v1/snapshots.proto and api/types/mount.proto.
"""

from __future__ import annotations

from parkube.nodeagent.runtime.cri.wire import Codec

RUNTIME, IMAGES = "/runtime.v1.RuntimeService/", "/runtime.v1.ImageService/"
EVENTS = "/containerd.services.events.v1.Events/Subscribe"
SNAPSHOTS = "/containerd.services.snapshots.v1.Snapshots/"

CODEC = Codec({
    "Empty": "",
    "VersionRequest": "version=1:string",
    "VersionResponse": "version=1:string runtime_name=2:string runtime_version=3:string runtime_api_version=4:string",
    "StatusRequest": "verbose=1:bool",
    "StatusResponse": "status=1:RuntimeStatus info=2:map",
    "RuntimeStatus": "conditions=1:*RuntimeCondition",
    "RuntimeCondition": "type=1:string status=2:bool reason=3:string message=4:string",
    "Int64Value": "value=1:int",
    "DNSConfig": "servers=1:*string searches=2:*string options=3:*string",
    "PortMapping": "protocol=1:int container_port=2:int host_port=3:int host_ip=4:string",
    "Mount": "container_path=1:string host_path=2:string readonly=3:bool selinux_relabel=4:bool propagation=5:int",
    "NamespaceOption": "network=1:int pid=2:int ipc=3:int target_id=4:string",
    "SecurityProfile": "profile_type=1:int localhost_ref=2:string",
    "LinuxSandboxSecurityContext": (
        "namespace_options=1:NamespaceOption run_as_user=3:Int64Value run_as_group=8:Int64Value readonly_rootfs=4:bool"
        " supplemental_groups=5:*int privileged=6:bool seccomp=9:SecurityProfile apparmor=10:SecurityProfile"
    ),
    "LinuxPodSandboxConfig": (
        "cgroup_parent=1:string security_context=2:LinuxSandboxSecurityContext sysctls=3:map"
    ),
    "PodSandboxMetadata": "name=1:string uid=2:string namespace=3:string attempt=4:int",
    "PodSandboxConfig": (
        "metadata=1:PodSandboxMetadata hostname=2:string log_directory=3:string dns_config=4:DNSConfig"
        " port_mappings=5:*PortMapping labels=6:map annotations=7:map linux=8:LinuxPodSandboxConfig"
    ),
    "RunPodSandboxRequest": "config=1:PodSandboxConfig runtime_handler=2:string",
    "PodSandboxId": "pod_sandbox_id=1:string",
    "PodSandboxStatusRequest": "pod_sandbox_id=1:string verbose=2:bool",
    "PodIP": "ip=1:string",
    "PodSandboxNetworkStatus": "ip=1:string additional_ips=2:*PodIP",
    "Namespace": "options=2:NamespaceOption",
    "LinuxPodSandboxStatus": "namespaces=1:Namespace",
    "PodSandboxStatus": (
        "id=1:string metadata=2:PodSandboxMetadata state=3:int created_at=4:int network=5:PodSandboxNetworkStatus"
        " linux=6:LinuxPodSandboxStatus labels=7:map annotations=8:map"
    ),
    "PodSandboxStatusResponse": "status=1:PodSandboxStatus info=2:map",
    "PodSandboxFilter": "id=1:string label_selector=3:map",
    "ListPodSandboxRequest": "filter=1:PodSandboxFilter",
    "PodSandbox": (
        "id=1:string metadata=2:PodSandboxMetadata state=3:int created_at=4:int labels=5:map annotations=6:map"
    ),
    "ListPodSandboxResponse": "items=1:*PodSandbox",
    "ImageSpec": "image=1:string annotations=2:map",
    "KeyValue": "key=1:string value=2:string",
    "LinuxContainerResources": (
        "cpu_period=1:int cpu_quota=2:int cpu_shares=3:int memory_limit_in_bytes=4:int oom_score_adj=5:int"
    ),
    "Capability": "add_capabilities=1:*string drop_capabilities=2:*string",
    "LinuxContainerSecurityContext": (
        "capabilities=1:Capability privileged=2:bool namespace_options=3:NamespaceOption run_as_user=5:Int64Value"
        " run_as_group=12:Int64Value run_as_username=6:string readonly_rootfs=7:bool supplemental_groups=8:*int"
        " no_new_privs=11:bool masked_paths=13:*string readonly_paths=14:*string seccomp=15:SecurityProfile"
        " apparmor=16:SecurityProfile"
    ),
    "LinuxContainerConfig": "resources=1:LinuxContainerResources security_context=2:LinuxContainerSecurityContext",
    "ContainerMetadata": "name=1:string attempt=2:int",
    "Device": "container_path=1:string host_path=2:string permissions=3:string",
    "ContainerConfig": (
        "metadata=1:ContainerMetadata image=2:ImageSpec command=3:*string args=4:*string working_dir=5:string"
        " envs=6:*KeyValue mounts=7:*Mount devices=8:*Device labels=9:map annotations=10:map log_path=11:string"
        " stdin=12:bool stdin_once=13:bool tty=14:bool linux=15:LinuxContainerConfig"
    ),
    "CreateContainerRequest": "pod_sandbox_id=1:string config=2:ContainerConfig sandbox_config=3:PodSandboxConfig",
    "ContainerId": "container_id=1:string",
    "StopContainerRequest": "container_id=1:string timeout=2:int",
    "UpdateContainerResourcesRequest": "container_id=1:string linux=2:LinuxContainerResources",
    "ListContainersRequest": "",
    "ContainerSummary": (
        "id=1:string pod_sandbox_id=2:string metadata=3:ContainerMetadata image=4:ImageSpec image_ref=5:string"
        " state=6:int created_at=7:int labels=8:map annotations=9:map"
    ),
    "ListContainersResponse": "containers=1:*ContainerSummary",
    "ContainerStatusRequest": "container_id=1:string verbose=2:bool",
    "ContainerStatus": (
        "id=1:string metadata=2:ContainerMetadata state=3:int created_at=4:int started_at=5:int finished_at=6:int"
        " exit_code=7:int image=8:ImageSpec image_ref=9:string reason=10:string message=11:string labels=12:map"
        " annotations=13:map log_path=15:string"
    ),
    "ContainerStatusResponse": "status=1:ContainerStatus info=2:map",
    "ListContainerStatsRequest": "",
    "ListContainerStatsResponse": "stats=1:*ContainerStats",
    "ContainerAttributes": "id=1:string metadata=2:ContainerMetadata labels=3:map annotations=4:map",
    "UInt64Value": "value=1:int",
    "CpuUsage": "timestamp=1:int usage_core_nano_seconds=2:UInt64Value usage_nano_cores=3:UInt64Value",
    "MemoryUsage": (
        "timestamp=1:int working_set_bytes=2:UInt64Value available_bytes=3:UInt64Value usage_bytes=4:UInt64Value"
        " rss_bytes=5:UInt64Value page_faults=6:UInt64Value major_page_faults=7:UInt64Value"
    ),
    "FilesystemUsage": "timestamp=1:int used_bytes=3:UInt64Value inodes_used=4:UInt64Value",
    "ContainerStats": (
        "attributes=1:ContainerAttributes cpu=2:CpuUsage memory=3:MemoryUsage writable_layer=4:FilesystemUsage"
    ),
    "ExecSyncRequest": "container_id=1:string cmd=2:*string timeout=3:int",
    "ExecSyncResponse": "stdout=1:bytes stderr=2:bytes exit_code=3:int",
    "ExecRequest": "container_id=1:string cmd=2:*string tty=3:bool stdin=4:bool stdout=5:bool stderr=6:bool",
    "AttachRequest": "container_id=1:string stdin=2:bool tty=3:bool stdout=4:bool stderr=5:bool",
    "PortForwardRequest": "pod_sandbox_id=1:string port=2:*int",
    "UrlResponse": "url=1:string",
    "Image": (
        "id=1:string repo_tags=2:*string repo_digests=3:*string size=4:int uid=5:Int64Value username=6:string"
    ),
    "ListImagesResponse": "images=1:*Image",
    "ImageStatusRequest": "image=1:ImageSpec verbose=2:bool",
    "ImageStatusResponse": "image=1:Image info=2:map",
    "AuthConfig": (
        "username=1:string password=2:string auth=3:string server_address=4:string identity_token=5:string"
        " registry_token=6:string"
    ),
    "PullImageRequest": "image=1:ImageSpec auth=2:AuthConfig sandbox_config=3:PodSandboxConfig",
    "PullImageResponse": "image_ref=1:string",
    "RemoveImageRequest": "image=1:ImageSpec",
    "SnapshotMount": "type=1:string source=2:string target=3:string options=4:*string",
    "ViewSnapshotRequest": "snapshotter=1:string key=2:string parent=3:string labels=4:map",
    "SnapshotRequest": "snapshotter=1:string key=2:string",
    "MountsResponse": "mounts=1:*SnapshotMount",
    "SubscribeRequest": "filters=1:*string",
    "Any": "type_url=1:string value=2:bytes",
    "Envelope": "namespace=2:string topic=3:string event=4:Any",
    "TaskExit": "container_id=1:string id=2:string pid=3:int exit_status=4:int",
})  # fmt: skip
