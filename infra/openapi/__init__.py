"""The dashboard's API as an OpenAPI 3.1 document: `./dev openapi` writes it where the dashboard serves it from."""

from infra.openapi.document import FILE, document, written

__all__ = ["FILE", "document", "written"]
