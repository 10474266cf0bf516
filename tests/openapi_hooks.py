"""What an OpenAPI document cannot say of the calls."""

import re
import uuid
import zlib

import schemathesis

KEY = re.compile(r'[!#-~]{1,255}|"[!#-~]{1,255}"')


LAST_PAGE = (2**63 - 1) // 100


def number(text, least, most):
    return re.fullmatch(r"0|[1-9][0-9]{0,18}", str(text)) is not None and least <= int(text) <= most


@schemathesis.hook
def before_call(context, case, kwargs):
    headers = case.headers or {}
    for name in list(headers):
        value = str(headers[name])
        # A key belongs to one body, so each call has its own.
        if name.lower() == "idempotency-key" and KEY.fullmatch(value):
            headers[name] = str(uuid.uuid4())
        # Made-up tags hold for no user; three of four calls are to come further than that.
        if name.lower() in ("if-match", "if-none-match") and zlib.crc32(value.encode()) % 4:
            del headers[name]
    # One parameter or the other, where both are right.
    query = case.query or {}
    if number(query.get("page"), 1, LAST_PAGE) and number(query.get("after"), 0, 2**63 - 1):
        del query["page"]
