"""What the machine computes with: its device, the precision that it is fast in, its memory."""

import ctypes
import os
from typing import Any

import torch

from treehead.artifacts import InputError


def device(settings: dict[str, Any], stage: str) -> str:
    """ "cpu" or "cuda"; "auto" takes the GPU if there is one.

    Args:
        settings: of the stage: `device`, and `portable`, which is for the CPU alone.
        stage: its name in the configuration, for errors.

    Raises:
        InputError: there is no GPU, or no processor of the kind that `portable` needs.
    """
    setting = settings["device"]
    if settings["portable"]:
        _check_portable(setting, f"{stage}.device")
        return "cpu"
    available = setting != "cpu" and torch.cuda.is_available()
    if setting == "cuda" and not available:
        raise InputError(f"{stage}.device is cuda, but torch sees no GPU; set it to auto or cpu.")
    return "cuda" if available else "cpu"


def _check_portable(device: str, key: str) -> None:
    if device == "cuda":
        raise InputError(f"{key} is cuda, and compute.portable is for CPUs; set one of the two.")
    if (found := torch.backends.cpu.get_cpu_capability()) != "AVX2":
        raise InputError(
            f"compute.portable needs an x86-64 processor with AVX2, but torch uses {found} here; "
            "set it to false, or if you call the library yourself, set the variables of "
            "treehead.config.portable before torch is imported."
        )


def precision(setting: str, device: str) -> torch.dtype:
    """The type of a network's products; "auto" takes bfloat16 where the hardware multiplies it.

    A CPU without such instructions converts each number, and is slower than in float32.
    """
    if setting == "auto":
        setting = "bfloat16" if _multiplies_bfloat16(device) else "float32"
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[setting]


def decided(settings: dict[str, Any]) -> dict[str, Any]:
    """The `finetune` settings with what "auto" comes to here as their device and precision.

    Those of no epochs have neither.
    """
    if settings["epochs"] == 0:
        return settings
    on, wanted = device(settings, "finetune"), settings["precision"]
    if settings["portable"] and wanted == "bfloat16":
        raise InputError(
            "finetune.precision is bfloat16, which has no portable products; set it to auto or "
            "float32, or compute.portable to false."
        )
    chosen = precision("float32" if settings["portable"] else wanted, on)
    return settings | {"device": on, "precision": str(chosen).removeprefix("torch.")}


def products(settings: dict[str, Any]) -> torch.autocast:
    """A context in which products are made in the precision of settings that are `decided`."""
    kind = getattr(torch, settings["precision"])
    return torch.autocast(settings["device"], kind, enabled=kind != torch.float32)


def repeat_bytes(device: str) -> None:
    """Let a GPU add in the same order each time, as a CPU does; called before its first product.

    torch warns of an operation that can't, in the log.
    """
    if device == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)


def _multiplies_bfloat16(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


# Parameters of glibc's mallopt: the sizes in bytes above which it trims its heap, and maps a block.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Let the C library keep what is freed, for every step of a training needs it again.

    By default glibc maps a large block anew each time, and the system zeroes it page by page: a
    third of the time of PhiNet's training at 160 pixels. Other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 2**30)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
