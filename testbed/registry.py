"""A real schema registry that speaks the Confluent API: Apicurio, storing in memory."""

from __future__ import annotations

import http.client
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from testbed.java import (
    QUICK_START,
    cache_folder,
    fetched,
    find_java,
    java_options,
    maven,
    missing_java,
    missing_program,
)
from testbed.part import Part, PartName
from testbed.processes import LOOPBACK, PartError, free_port

REGISTRY_VERSION = "3.3.3"
REGISTRY_JAVA = 21
ARTIFACT = f"io.apicurio:apicurio-registry-app:{REGISTRY_VERSION}:tar.gz:all"


class SchemaRegistry(Part):
    """Apicurio Registry on 127.0.0.1. It keeps all in memory: a restart begins empty.

    `settings` are its configuration properties, which come on top of ours and win; `heap_mb` is the largest
    heap in MiB.
    """

    name: ClassVar[PartName] = "registry"

    def __init__(
        self,
        *,
        heap_mb: int = 512,
        jvm_options: Sequence[str] = QUICK_START,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.port = free_port()
        self.management_port = free_port()
        self._java_options = java_options(heap_mb, jvm_options)
        self._settings = dict(settings or {})

    @classmethod
    def missing(cls) -> str | None:
        """Why the registry can't be started here (no Java, no Maven), and how to get it; None when it can."""
        program = f"Apicurio Registry {REGISTRY_VERSION}"
        return missing_java(program, REGISTRY_JAVA) or missing_program(program, _folder())

    @property
    def url(self) -> str:
        """The base of its Confluent-compatible API: `http://127.0.0.1:PORT/apis/ccompat/v7`."""
        return f"http://{LOOPBACK}:{self.port}/apis/ccompat/v7"

    def _fetch(self) -> None:
        fetched(_folder(), _fetch_program)

    def _command(self) -> Sequence[str | Path]:
        java = find_java(REGISTRY_JAVA)
        if java is None:
            raise PartError(f"Java {REGISTRY_JAVA} was there a moment ago, and is gone")
        properties = [f"-D{key}={value}" for key, value in self._properties().items()]
        return [java, *self._java_options, *properties, "-jar", _folder() / "quarkus-run.jar"]

    def _ready(self) -> bool:
        connection = http.client.HTTPConnection(LOOPBACK, self.management_port, timeout=2.0)
        try:
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _properties(self) -> dict[str, str]:
        return {
            "quarkus.http.host": LOOPBACK,
            "quarkus.http.port": str(self.port),
            "quarkus.management.host": LOOPBACK,
            "quarkus.management.port": str(self.management_port),
            "java.util.logging.manager": "org.jboss.logmanager.LogManager",
            **self._settings,
        }


def _folder() -> Path:
    return cache_folder() / f"apicurio-registry-{REGISTRY_VERSION}"


def _fetch_program(folder: Path) -> None:
    maven("dependency:copy", f"-Dartifact={ARTIFACT}", f"-DoutputDirectory={folder}", directory=folder)
    for archive in folder.glob("*.tar.gz"):
        with tarfile.open(archive) as content:
            content.extractall(folder, filter="data")
        archive.unlink()
