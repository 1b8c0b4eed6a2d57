"""`python -m infra.openapi`: write functions/dashboard/openapi.json."""

from infra.openapi import FILE, written

FILE.write_text(written(), encoding="utf-8")
