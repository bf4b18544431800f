"""`charrnn doctor`: what this installation and this machine have, how fast that is, and what to do about it."""

import contextlib
import locale
import os
import platform
import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from charrnn.cli.eval_writers import escape_cell
from charrnn.config.manage import DoctorConfig
from charrnn.config.options import merge
from charrnn.console.format import count
from charrnn.console.heat import heat_depth
from charrnn.console.streams import Console
from charrnn.engines.select import choose_device, core_fault, core_instructions, core_speed, has_driver, torch_version
from charrnn.files import cache_folder
from charrnn.machine import available_cpus
from charrnn.version import __version__

LOW = 0.4
"""The share of the peak below which the core is slower than it should be."""


@dataclass(frozen=True)
class Check:
    """What was found of one thing, and what to do about it: `status` is "ok", "warn" or "fail"."""

    status: str
    check: str
    value: str
    advice: str = ""


def run(console: Console, flags: dict[str, Any], *, started: float) -> int:
    """Print a line for each check, as it is made; return the exit code: 1 if nothing here can train."""
    config, _ = merge(DoctorConfig, flags, os.environ)
    code = 0
    for check in checks(console):
        if config.json:
            console.write_json(asdict(check), flush=True)
        elif console.stdout_is_tty:
            advice = f"\n{'':<25}{check.advice}" if check.advice else ""
            console.write_text(f"{check.status:<6}{check.check:<19}{check.value}{advice}\n")
        else:
            console.write(b"\t".join(escape_cell(os.fsencode(each)) for each in asdict(check).values()) + b"\n")
        console.flush()
        code = code or int(check.status == "fail")
    return code


def checks(console: Console) -> Iterator[Check]:
    """Yield what is found, the quick checks first."""
    yield Check("ok", "charrnn", f"{__version__}, Python {platform.python_version()}, {platform.platform(terse=True)}")
    fault = core_fault()
    yield from _core(fault)
    threads = available_cpus()
    yield _threads(threads)
    yield _terminal(console)
    yield _cache()
    version, reason = torch_version()
    yield _torch(version, reason, needed=not _is_fast(fault))
    yield _gpu(version)
    if not fault:
        yield from _speed(threads)


def _is_fast(fault: str) -> bool:
    """Return whether the core trains: its baseline is left to PyTorch, unless it is asked for."""
    return not fault and (core_instructions()[0] != "baseline" or "CHARRNN_ISA" in os.environ)


def _core(fault: str) -> Iterator[Check]:
    if fault:
        remedy = "have GCC or Clang, then reinstall: pip install --force-reinstall --no-deps charrnn"
        yield Check("warn", "core", f"the compiled core {fault}", f"training is several times slower without: {remedy}")
        return
    yield Check("ok", "core", "built")
    chosen, there = core_instructions()
    value, fastest = f"{chosen} of {', '.join(there)}", there[-1]
    if chosen != fastest:
        yield Check("warn", "instructions", value, f"unset CHARRNN_ISA, which keeps {fastest} from being used")
    elif chosen == "baseline":
        yield Check("warn", "instructions", value, "a processor with AVX2 is several times faster; PyTorch trains here")
    else:
        yield Check("ok", "instructions", value)


def _threads(threads: int) -> Check:
    there = os.cpu_count() or threads
    value = f"{threads} of {there} processors"
    if threads >= there:
        return Check("ok", "threads", value)
    if os.environ.get("OMP_NUM_THREADS", "").isdecimal():
        return Check("warn", "threads", value, f"OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']} may be why: unset it")
    return Check("ok", "threads", value, "the others are not this process's: its affinity (taskset) or CPU quota")


def _terminal(console: Console) -> Check:
    name, encoding = os.environ.get("TERM", ""), locale.getpreferredencoding(do_setlocale=False)
    if not console.stdout_is_tty:
        return Check("ok", "terminal", f"none: stdout is a file or a pipe; {encoding}")
    colors = {16: "16 colours", 256: "256 colours"}.get(heat_depth(os.environ), "true colour")
    value = f"{name or 'of no known kind'}, {console.size.columns} columns, {colors if console.color else 'no colour'}"
    if encoding.lower().replace("-", "") != "utf8":
        advice = "letters that are not ASCII need UTF-8: export LANG=C.UTF-8"
        return Check("warn", "terminal", f"{value}, {encoding}", advice)
    return Check("ok", "terminal", f"{value}, {encoding}")


def _cache() -> Check:
    folder = cache_folder()
    size = 0
    for top, _, names in os.walk(folder):  # links are not followed
        for name in names:
            with contextlib.suppress(OSError):  # it has just gone
                size += os.lstat(os.path.join(top, name)).st_size
    value = f"{folder}, {count(size)}B"
    place = next((each for each in (folder, *folder.parents) if each.exists()), Path("/"))
    if not (place.is_dir() and os.access(place, os.W_OK)):
        return Check("warn", "cache", value, f"{place} cannot be written: $XDG_CACHE_HOME names another place")
    return Check("ok", "cache", value, f"rm -r {shlex.quote(str(folder))} empties it" if size else "")


def _torch(version: str, reason: str, *, needed: bool) -> Check:
    if version:
        return Check("ok", "pytorch", version)
    use = "nothing here can train without it" if needed else "a GPU needs it"
    return Check("fail" if needed else "warn", "pytorch", reason, f"{use}: pip install --force-reinstall torch")


def _gpu(version: str) -> Check:
    if not has_driver():
        return Check("ok", "gpu", "none: this machine has no driver for one")
    if not version:
        return Check("warn", "gpu", "there is a driver, but no PyTorch", "see pytorch")
    device, reason = choose_device("auto")
    if device != "cpu":
        return Check("ok", "gpu", f"{device}: {reason}")
    advice = "pip install --force-reinstall torch, from the index of your CUDA version: https://pytorch.org/get-started"
    return Check("warn", "gpu", f"none: {reason}", advice)


def _speed(threads: int) -> Iterator[Check]:
    """Measure the core with one thread and with all."""
    for speed in core_speed([1] if threads == 1 else [1, threads]):
        name = "speed, 1 thread" if speed.threads == 1 else f"speed, {speed.threads} threads"
        value = f"{2e-9 * speed.reached:.0f} GFLOP/s"
        if not speed.peak:
            yield Check("ok", name, value, "its peak is not known: the core is older than this check")
            continue
        value += f", {100 * speed.share:.0f} % of the {2e-9 * speed.peak:.0f} of multiply-adds alone"
        if speed.share >= LOW:
            yield Check("ok", name, value)
        else:
            yield Check("warn", name, value, _cause(speed.threads, threads))


def _cause(used: int, threads: int) -> str:
    """Return why the core is probably slower than it should be."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > threads:
        return f"other programs are running: a load of {load:.1f} on {threads} processors; measure again without them"
    if used > 1:
        return f"its threads wait for one another: shared processors, or a CPU quota; try --threads {used - 1}"
    return "memory is slow, or the processor is shared with other machines; measure again"
