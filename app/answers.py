"""How refusals look: one form, one status for each error, and the headers on every answer."""

from collections.abc import Mapping

from starlette.responses import JSONResponse, Response

from app.errors import (
    Busy,
    Conflict,
    DiskFull,
    Forbidden,
    LockedOut,
    LoginNeeded,
    NotAllowed,
    NotFound,
    OverQuota,
    TooLarge,
    Unavailable,
    WrongPassword,
)

STATUS: Mapping[type[Exception], int] = {
    LoginNeeded: 401,
    WrongPassword: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    TooLarge: 413,
    NotAllowed: 422,
    Busy: 429,
    LockedOut: 429,
    Unavailable: 503,
    DiskFull: 507,
    OverQuota: 507,
}
# Gradio's pages need inline scripts and `new Function`; still nothing is fetched from, sent to or
# framed by another site. Plots and pictures come as data and blobs.
CONTENT_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:;"
    " style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:;"
    " connect-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none';"
    " base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": CONTENT_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
}


def status_of(error: Exception) -> int:
    """The HTTP status of what a person can mend; 422 where no other fits."""
    return next((status for kind, status in STATUS.items() if isinstance(error, kind)), 422)


def refusal(
    status: int,
    code: str,
    message: str,
    *,
    headers: Mapping[str, str] | None = None,
    **extra: object,
) -> Response:
    """The one form of an error's answer."""
    body = {"error": {"code": code, "message": message, **extra}}
    # Refusals and internal errors are answered outside the part of Entrance that adds these.
    return JSONResponse(body, status_code=status, headers={**SECURITY_HEADERS, **(headers or {})})
