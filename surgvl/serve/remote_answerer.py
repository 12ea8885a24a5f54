"""The answerer behind an address: a chat model of `surgvl serve`, or a general model of any server."""

from pathlib import Path

from surgvl.chat.answerer import Answerer
from surgvl.chat.vision_language_config import ClipInput, ReplyConfig
from surgvl.models.published_training import repository_training
from surgvl.serve.client import Server
from surgvl.serve.endpoint import Endpoint
from surgvl.serve.endpoint_answerer import EndpointAnswerer
from surgvl.serve.remote import ServerAnswerer


def remote_answerer(
    model: str | Path | None,
    server: str,
    api_key: str | None,
    in_flight: int,
    by_likelihood: bool,
    clip: ClipInput,
    reply: ReplyConfig,
    seed: int,
) -> Answerer:
    """Find out what an address is, and take its model; for the arguments see `surgvl.api.load_answerer`.

    Raises:
        CheckpointError: `surgvl serve` serves another model.
        ConfigError: another server has no such model.
        ServerError: the server cannot be reached, or serves no chat model.
    """
    link = Server(server, api_key, in_flight=in_flight)
    facts = link.surgvl_facts()
    general = {} if facts is None else facts.get("chat", {})
    if facts is None or general.get("general"):
        name = str(model or general.get("model", ""))
        address = Endpoint(server, api_key, name, reply.limit_s, reply.retries, in_flight)
        answerer = EndpointAnswerer(address, clip, reply, seed, by_likelihood)
        answerer.training = general.get("trained") or repository_training(name)
        return answerer
    remote = ServerAnswerer(link, by_likelihood)
    if model is not None:
        remote.check(model)
    return remote
