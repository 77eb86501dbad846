# SPDX-License-Identifier: GPL-2.0
"""What "make check" looks at. Each lint counts as one test; a finding fails it."""
import concurrent.futures
import os
import pathlib
import re
import shlex
import subprocess
import tempfile
import time

from . import build, install, kernels, paths
from .ui import LabError, Step, run

MAX_LINES = 600
SOURCE_PACKAGE = "linux-source-6.12"
CHECKPATCH_FILES = ("checkpatch.pl", "spelling.txt", "const_structs.checkpatch")
# Types that only make sense for patches, or that contradict another tool.
CHECKPATCH_IGNORE = ("FILE_PATH_CHANGES", "SPDX_LICENSE_TAG", "LINUX_VERSION_CODE", "SPLIT_STRING",
                     "EMBEDDED_FILENAME", "PREFER_DEFINED_ATTRIBUTE_MACRO")
# In programs there is no kernel API to prefer.
CHECKPATCH_IGNORE_USER = ("STRCPY", "STRNCPY", "STRLCPY", "SSCANF_TO_KSTRTO", "CONSIDER_KSTRTO",
                          "NEW_TYPEDEFS", "ENOSYS", "VOLATILE", "AVOID_BUG", "CAMELCASE",
                          "ARRAY_SIZE", "USE_NEGATIVE_ERRNO", "AVOID_EXTERNS", "USLEEP_RANGE",
                          "PREFER_FALLTHROUGH", "SYMBOLIC_PERMS", "PRINTF_L", "LOGGING_CONTINUATION",
                          "PREFER_PR_LEVEL", "ALLOC_SIZEOF_STRUCT", "UNNECESSARY_CASTS",
                          "EMBEDDED_FUNCTION_NAME", "MEMORY_BARRIER", "DATA_RACE",
                          "PREFER_KERNEL_TYPES", "MACRO_WITH_FLOW_CONTROL")
# Tracepoint headers are macros that are no C by themselves.
TRACE_MACROS = re.compile(r"/trace\.h:\d+: \w+:(COMPLEX_MACRO|MACRO_ARG_UNUSED|"
                          r"TRAILING_SEMICOLON|MULTISTATEMENT_MACRO_USE_DO_WHILE):")


def tracked():
    """Every file of the project, also those not yet committed."""
    text = run(["git", "-C", paths.TOP, "ls-files", "-co", "--exclude-standard"], "git ls-files")
    return sorted({paths.TOP / line for line in text.splitlines()
                   if (paths.TOP / line).is_file()})


def first_line(path):
    with open(path, "rb") as stream:
        return stream.readline(200).decode(errors="replace")


def name(path):
    return str(path.relative_to(paths.TOP))


def checkpatch_program():
    """checkpatch.pl and its word lists; no Debian package but the source has them."""
    for source in sorted((paths.CACHE / "source").glob("*/scripts/checkpatch.pl")):
        return source
    version = kernels.show(SOURCE_PACKAGE).get("Version")
    if not version:
        raise LabError(f"apt knows no {SOURCE_PACKAGE}: run \"apt-get update\"")
    target = paths.CACHE / "checkpatch" / version
    if not (target / CHECKPATCH_FILES[0]).exists():
        with tempfile.TemporaryDirectory(dir=paths.CACHE) as tmp, \
                Step(f"fetching {SOURCE_PACKAGE} for its checkpatch.pl"):
            deb = kernels.download([SOURCE_PACKAGE], pathlib.Path(tmp))[0]
            names = " ".join(f"{SOURCE_PACKAGE}/scripts/{n}" for n in CHECKPATCH_FILES)
            run(["sh", "-c", f"dpkg-deb --fsys-tarfile {shlex.quote(str(deb))} | "
                 f"tar -xO ./usr/src/{SOURCE_PACKAGE}.tar.xz | "
                 f"tar -xJ -C {shlex.quote(tmp)} --strip-components=2 {names}"],
                "unpacking checkpatch.pl")
            target.mkdir(parents=True, exist_ok=True)
            for one in CHECKPATCH_FILES[::-1]:
                (pathlib.Path(tmp) / one).rename(target / one)
    return target / CHECKPATCH_FILES[0]


def findings(cmd, accept=lambda line: True):
    """What CMD printed, line by line, if it failed or printed anything ACCEPT takes."""
    done = subprocess.run([str(c) for c in cmd], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", check=False, timeout=600, cwd=paths.TOP)
    lines = [line for line in done.stdout.splitlines() if line.strip() and accept(line)]
    if done.returncode and not lines:
        lines = [f"{cmd[0]} ended with status {done.returncode}", *done.stdout.splitlines()]
    return lines


def lint_checkpatch(where, user):
    program = checkpatch_program()
    files = [f for f in tracked() if f.suffix in (".c", ".h") and name(f).startswith(where)]
    if not files:
        return []
    ignore = CHECKPATCH_IGNORE + (CHECKPATCH_IGNORE_USER if user else ())
    lines = findings(["perl", program, "--no-tree", "--no-summary", "--terse", "--show-types",
                      "--quiet", "--max-line-length=100", f"--ignore={','.join(ignore)}", "-f",
                      *files], lambda line: re.search(r":\d+: (ERROR|WARNING):", line))
    return [line for line in lines if not TRACE_MACROS.search(line)]


def lint_module(series):
    """A build with W=1 and sparse, in which every warning is an error."""
    kernel = kernels.get(series)
    if not (paths.TOP / "Kbuild").exists():
        return ["there is no Kbuild"]
    try:
        text = build.build_module(kernel, ["-k", "W=1", "C=1", "CF=-Wsparse-error",
                                           "KCFLAGS=-Werror"],
                                  paths.BUILD / "check" / kernel.release)
    except LabError as err:
        text = str(err)
        return text.splitlines()
    return [line for line in text.splitlines() if re.search(r"\bwarning\b", line, re.I)
            and "Skipping BTF" not in line]


def lint_kernel_doc():
    """The user ABI is documented to the last field; inside the module it must parse."""
    script = kernels.get("6.12").headers / "scripts" / "kernel-doc"
    files = [f for f in tracked() if f.suffix in (".c", ".h") and b"/**" in f.read_bytes()]
    lines = findings(["perl", script, "-none", "-Werror",
                      *(f for f in files if name(f).startswith("uapi/"))])
    inside = [f for f in files if name(f).startswith("module/")]
    if inside:
        lines += findings(["perl", script, "-none", *inside],
                          lambda line: re.search(r"error:|Excess|expecting prototype", line))
    return lines


def lint_uapi():
    """The header stands alone, in old C, and in C++ where there is a compiler."""
    header = paths.TOP / "uapi" / "linux" / "kvm_ferry.h"
    lines = findings(["gcc", "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wpadded", "-Werror",
                      "-fsyntax-only", "-I", header.parents[1], "-include", header, "-x", "c",
                      os.devnull])
    return lines


def grep(pattern, files, why):
    lines = []
    for path in files:
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if re.search(pattern, line):
                lines.append(f"{name(path)}:{number}: {why}: {line.strip()}")
    return lines


def lint_versions():
    files = [f for f in tracked() if name(f).startswith(("module/", "examples/")) and f.suffix in (".c", ".h")
             and f.name != "compat.h"]
    return grep(r"LINUX_VERSION_CODE|KERNEL_VERSION|linux/version\.h", files,
                "kernel versions belong in compat.h only")


def lint_kvm_host():
    files = [f for f in tracked() if name(f).startswith(("module/", "examples/")) and
             f.suffix in (".c", ".h")]
    return grep(r"#\s*include.*kvm_host\.h", files, "KVM's internals are closed to modules")


def lint_release():
    """One version in all the places that tell it."""
    found = {}
    for where, pattern in (("dkms.conf", r'PACKAGE_VERSION="([^"]+)"'),
                           ("debian/changelog", r"\Akvm-ferry \((\S+)\)"),
                           ("docs/packaging.md", r"(?m)^Version: +(\S+)"),
                           ("module/*.h", r'FERRY_RELEASE\s+"([^"]+)"')):
        for path in paths.TOP.glob(where):
            match = re.search(pattern, path.read_text())
            if match:
                found[name(path)] = match[1]
    if len(found) < 4:
        return [f"a version is missing; found only {found}"]
    return [] if len(set(found.values())) == 1 else [f"versions differ: {found}"]


def lint_shell():
    files = [f for f in tracked() if f.suffix in (".sh", ".bash") or
             re.match(r"#!.*\b(sh|bash|dash)\b", first_line(f))]
    return findings(["shellcheck", "-x", "-S", "warning", "-f", "gcc",
                     "-e", "SC1091", *files])


def lint_python():
    files = [f for f in tracked() if f.suffix == ".py" or
             re.match(r"#!.*\bpython", first_line(f))]
    return findings(["pyflakes3", *files])


def lint_man():
    files = [f for f in tracked() if re.fullmatch(r"\.[1-9]", f.suffix)]
    return findings(["mandoc", "-T", "lint", "-W", "warning", *files]) if files else []


def lint_spdx():
    lines = []
    # Their formats have no comments.
    bare = ("debian/changelog", "debian/copyright", "debian/source/format")
    for path in tracked():
        if path.name in ("COPYING", ".gitignore", "README", "LICENSE") or \
                path.name.startswith("COPYING") or path.suffix in (".md", ".json") or \
                name(path) in bare or \
                "corpus" in path.parts:     # bytes, some of them by chance no binary ones
            continue
        # A patch begins with what it is for.
        head = path.read_bytes()[:2000 if path.suffix == ".patch" else 400]
        if b"\0" not in head and b"SPDX-License-Identifier" not in head:
            lines.append(f"{name(path)}: no SPDX-License-Identifier line")
    return lines


def events_of(text):
    """{tracepoint: its fields} of a trace header."""
    classes = {match[1]: re.findall(r"__(?:field|array|string)\((?:[^,()]+, )?(\w+)[,)]", match[2])
               for match in re.finditer(r"(?ms)^(?:TRACE_EVENT|DECLARE_EVENT_CLASS)\((\w+),(.*?)"
                                        r"^\);", text)}
    events = {event: classes.get(event, []) for event in re.findall(r"\bTRACE_EVENT\((\w+),", text)}
    events.update({event: classes.get(one, []) for one, event in
                   re.findall(r"\bDEFINE_EVENT\((\w+), (\w+),", text)})
    return events


def lint_tracepoints():
    """docs/research.md has every tracepoint with its fields, and recipes of both kinds for it."""
    page = (paths.TOP / "docs" / "research.md").read_text()
    events = events_of((paths.TOP / "module" / "trace.h").read_text())
    sections = dict(re.findall(r"(?ms)^### `(ferry_\w+)`\n(.*?)(?=^##|\Z)", page))
    lines = [f"docs/research.md: {one} is no tracepoint of module/trace.h"
             for one in sections if one not in events]
    if len(events) < 8:
        lines.append(f"module/trace.h: only {', '.join(events)} were found there")
    recipes = {kind: "".join(p.read_text() for p in (paths.TOP / "docs" / "research").glob(kind))
               for kind in ("*.bt", "*.sh")}
    for event, fields in events.items():
        told = re.findall(r"(?m)^\| `(\w+)` \|", sections.get(event, ""))
        if not fields or told != fields:
            lines.append(f"docs/research.md: {event} has the fields {', '.join(fields)}; "
                         f"told are {', '.join(told) or 'none'}")
        # "ferry_pass_(begin|end)" is both.
        short = event.rsplit("_", 1)
        for kind, text in recipes.items():
            if not re.search(rf"\b{event}\b|\b{short[0]}_\([a-z|]*\b{short[1]}\b", text):
                lines.append(f"docs/research/{kind}: no recipe for {event}")
    return lines


def lint_shown():
    """What docs/research.md shows of files is what they are, and it shows all of them."""
    page = (paths.TOP / "docs" / "research.md").read_text()
    shown = re.findall(r"(?ms)^<!-- file: (\S+) -->\n```\w*\n(.*?)^```$", page)
    lines = [f"docs/research.md: {file} is shown otherwise than it is" for file, text in shown
             if not (paths.TOP / file).is_file() or (paths.TOP / file).read_text() != text]
    wanted = {name(p) for p in tracked() if name(p).startswith("docs/research/") or
              re.fullmatch(r"examples/\w+\.c", name(p))}
    return lines + [f"docs/research.md: {file} is not shown"
                    for file in sorted(wanted - {file for file, _ in shown})]


def lint_length():
    lines = []
    for path in tracked():
        if path.suffix in (".c", ".h", ".py", ".sh"):
            count = path.read_bytes().count(b"\n")
            if count > MAX_LINES and not name(path).startswith("uapi/"):
                lines.append(f"{name(path)}: {count} lines; the limit is {MAX_LINES}")
    return lines


def every(series):
    """(name, function) of each lint."""
    yield from ((f"W=1, sparse: module on {one}", lambda one=one: lint_module(one))
                for one in series)
    yield "make install", lambda: install.install(series[-1])
    for where, user in (("module/", False), ("uapi/", False), ("examples/", False), ("tests/kunit/", False),
                        ("userspace/", True), ("tests/e2e/", True), ("tests/guest/", True),
                        ("tests/user/", True), ("tests/bench/", True), ("tests/lab/", True),
                        ("tests/qemu/", True)):
        yield (f"checkpatch: {where}",
               lambda where=where, user=user: lint_checkpatch(where, user))
    yield "kernel-doc: module, uapi", lint_kernel_doc
    yield "uapi header stands alone", lint_uapi
    yield "no kernel versions outside compat.h", lint_versions
    yield "no kvm_host.h", lint_kvm_host
    yield "one version everywhere", lint_release
    yield "shellcheck", lint_shell
    yield "pyflakes", lint_python
    yield "mandoc -T lint", lint_man
    yield "SPDX lines", lint_spdx
    yield "docs/research.md: tracepoints", lint_tracepoints
    yield "docs/research.md: shown files", lint_shown
    yield f"no file over {MAX_LINES} lines", lint_length


def run_lint(function):
    """(lines found, seconds)"""
    begin = time.monotonic()
    try:
        lines = function()
    except (LabError, OSError, subprocess.SubprocessError) as err:
        lines = str(err).splitlines()
    return lines, time.monotonic() - begin


def check(series=paths.KERNELS, only=None):
    """Run the lints, as many at a time as there are processors; return (passed, failed)."""
    passed = failed = 0
    checkpatch_program()        # fetched once, before several look for it
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        waiting = [(title, pool.submit(run_lint, function)) for title, function in every(series)
                   if not only or only in title]
        for title, future in waiting:
            lines, seconds = future.result()
            if lines:
                failed += 1
                print(f"FAIL check {title} {seconds:.1f}s: {len(lines)} findings")
                print("".join(f"    {line}\n" for line in lines[:200]), end="", flush=True)
            else:
                passed += 1
                print(f"ok check {title} {seconds:.1f}s", flush=True)
    return passed, failed
