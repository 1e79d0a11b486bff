"""What numbers depend on besides data and recipe: the machine and the versions of what computes."""

from __future__ import annotations

import platform


def machine() -> dict[str, str]:
    """What this machine is, as far as results and speed depend on it."""
    import torch

    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as handle:
            for line in handle:
                if line.startswith("model name"):
                    name = line.split(":", 1)[1].strip()
                    break
    except OSError:
        pass
    facts = {
        "cpu": name,
        "threads": str(torch.get_num_threads()),
        "system": platform.system(),
        "architecture": platform.machine(),
    }
    if torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
    return facts


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    from importlib.metadata import version

    import tumorscope

    names = ("torch", "torchvision", "timm", "lightning", "numpy", "pillow", "scikit-learn", "scipy")
    return {
        "tumorscope": tumorscope.__version__,
        "python": platform.python_version(),
        **{name: version(name) for name in names},
    }
