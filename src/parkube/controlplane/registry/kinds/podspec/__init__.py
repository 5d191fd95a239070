"""The pod spec, which pods and every workload's template share: its documented defaults, and its rules."""

from parkube.controlplane.registry.kinds.podspec.defaults import default_pod, default_spec, default_template, qos_class
from parkube.controlplane.registry.kinds.podspec.rules import spec_faults, template_faults

__all__ = ["default_pod", "default_spec", "default_template", "qos_class", "spec_faults", "template_faults"]
