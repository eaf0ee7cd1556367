"""The peers' own environments, made once below the cache folder: Python by a lock file, Java by a pom."""

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

from testbed.java import cache_folder, fetched, find_java, maven, missing_java, missing_program
from testbed.processes import PartUnavailableError

ROOT = Path(__file__).parent.parent.parent
HERE = Path(__file__).parent
JAVA = 17
_INSTALL_TIMEOUT_S = 600.0


def python_with(name: str) -> Path:
    """Return a Python that has what ``requirements/bench-NAME.txt`` locks.

    Raises :class:`PartUnavailableError` when that can't be installed: no wheel for this Python, no registry.
    """
    lock = ROOT / "requirements" / f"bench-{name}.txt"
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = cache_folder() / f"bench-{name}-{running}-{_fingerprint(lock)}"
    return fetched(folder, lambda partial: _install(lock, partial)) / "bin" / "python"


def jars_of(peer: str) -> Path:
    """Return the folder of the jars that ``PEER/pom.xml`` names.

    Raises :class:`PartUnavailableError` when there is no Java, no Maven, or no repository.
    """
    pom = HERE / peer / "pom.xml"
    folder = cache_folder() / f"bench-{peer.replace('_', '-')}-{_fingerprint(pom)}"
    reason = missing_java(peer, JAVA) or missing_program(peer, folder)
    if reason:
        raise PartUnavailableError(reason)
    return fetched(folder, lambda partial: _copy_jars(pom, partial))


def compiled(peer: str, into: Path) -> str:
    """Compile the peer's Java; return the class path.

    Raises :class:`PartUnavailableError` when there is no compiler.
    """
    jars = jars_of(peer)
    javac = java().with_name("javac")
    if not javac.exists():
        raise PartUnavailableError(f"{peer} needs a JDK: there is no javac beside the java in use")
    classes = into / f"{peer}-classes"
    sources = [str(path) for path in sorted((HERE / peer).glob("*.java"))]
    path = f"{jars}/*"
    _run([str(javac), "-Xlint:all,-processing,-classfile", "-cp", path, "-d", str(classes), *sources])
    return f"{classes}:{path}"


def java() -> Path:
    """Return the Java that runs the peers. Raises :class:`PartUnavailableError` when there is none."""
    found = find_java(JAVA)
    if found is None:
        raise PartUnavailableError(str(missing_java("the JVM peers", JAVA)))
    return found


def locked_version(name: str, package: str) -> str:
    """Return the version of a package in ``requirements/bench-NAME.txt``."""
    text = (ROOT / "requirements" / f"bench-{name}.txt").read_text()
    return _first(rf"(?m)^{re.escape(package)}==(\S+)", text)


def pom_version(peer: str, artifact: str) -> str:
    """Return the version of an artifact in the peer's pom."""
    text = (HERE / peer / "pom.xml").read_text()
    version = _first(rf"<artifactId>{re.escape(artifact)}</artifactId>\s*<version>([^<]+)", text)
    named = re.fullmatch(r"\$\{(\w+)}", version)
    return _first(rf"<{named.group(1)}>([^<]+)", text) if named else version


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise LookupError(f"nothing matches {pattern}")
    return found.group(1)


def _fingerprint(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def _install(lock: Path, folder: Path) -> None:
    _run([sys.executable, "-m", "venv", str(folder)])
    python = str(folder / "bin" / "python")
    _run([python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(lock)])


def _copy_jars(pom: Path, folder: Path) -> None:
    shutil.copy(pom, folder / "pom.xml")
    maven(
        "dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder}", directory=folder
    )  # fmt: skip
    (folder / "pom.xml").unlink()


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT_S, check=False)
    if done.returncode:
        words = " ".join(Path(word).name if word == command[0] else word for word in command[:4])
        said = (done.stdout + done.stderr)[-2_000:]
        raise PartUnavailableError(f"`{words} …` ended with {done.returncode}:\n{said}")
