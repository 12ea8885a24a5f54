"""Why a request to a server failed, in one line with the remedy."""

import openai

from surgvl.core.credentials import mask
from surgvl.core.errors import ServerError
from surgvl.serve.payloads import one_line


def failed_call(error: openai.OpenAIError | ValueError, url: str, timeout_s: float, retries: int) -> ServerError:
    """The error of a request that failed, after all retries if it may be transient.

    Args:
        error: of OpenAI's client.
        url: of the server, without a password.
        timeout_s: maximum wait for a response.
        retries: maximum number of retries.
    """
    times = f"{retries + 1} times" if retries else "once"
    if isinstance(error, openai.APITimeoutError):
        return ServerError(
            f"{url} did not answer within {timeout_s:g} s (asked {times}): check its load, or lower in_flight"
        )
    if isinstance(error, openai.APIConnectionError):
        why = mask(one_line(str(error.__cause__ or error))).rstrip(".")
        return ServerError(
            f"{url} cannot be reached ({why}; tried {times}): start it with `surgvl serve`, or check --server"
        )
    if isinstance(error, openai.APIStatusError):
        said = error.body.get("message") if isinstance(error.body, dict) else error.body
        remedy = {
            401: "; set SURGVL_API_KEY, or give it as --api_key @FILE",
            404: "; check --server, and what `surgvl serve` was started with",
        }.get(error.status_code, "")
        return ServerError(f"{url} says {error.status_code}: {one_line(str(said))[:300]}{remedy}")
    return ServerError(
        f"{url} does not respond like `surgvl serve` ({mask(one_line(str(error)))[:100]}): check --server"
    )
