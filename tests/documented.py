"""What the OpenAPI document says, read without running anything."""

from dataclasses import dataclass
from typing import Any

from gateway.app import make_inner

DOCUMENT = make_inner().openapi()


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    spec: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def roles(self) -> list[str] | None:
        """Roles that may use it; None where no token is needed."""
        for requirement in self.spec.get("security", ()):
            return next(iter(requirement.values()))
        return None

    @property
    def body(self) -> Any:
        """The documented example of its body; None where it has none."""
        if "requestBody" not in self.spec:
            return None
        schema = self.spec["requestBody"]["content"]["application/json"]["schema"]
        schema = next(iter(schema.get("anyOf", [schema])))
        if "$ref" in schema:
            schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        (example,) = schema["examples"]
        return example


OPERATIONS = [
    Operation(method.upper(), path, spec)
    for path, operations in DOCUMENT["paths"].items()
    for method, spec in operations.items()
]
