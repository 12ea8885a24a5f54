"""The text transformer beside open_clip's, whose names, initial weights and vectors it has."""

import torch
from open_clip.transformer import TextTransformer as OpenClipText

from surgvl.models.text_transformer import TextTransformer

EOS = 3


def pair() -> tuple[TextTransformer, OpenClipText]:
    """Ours and open_clip's, from the same seed."""
    sizes = {"context_length": 12, "vocab_size": 40, "width": 16, "heads": 4, "layers": 3, "output_dim": 8}
    torch.manual_seed(7)
    ours = TextTransformer(**sizes, eos_id=EOS)
    torch.manual_seed(7)
    return ours, OpenClipText(**sizes, pad_id=0, eos_id=EOS, pool_type="eos")


def test_names_and_initial_weights_are_those_of_open_clip() -> None:
    ours, theirs = (model.state_dict() for model in pair())
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


def test_vectors_and_gradients_are_those_of_open_clip() -> None:
    ours, theirs = pair()
    ids = torch.randint(4, 40, (5, 12), generator=torch.Generator().manual_seed(0))
    # Padding after the end token, which is at another place in each sentence.
    for row, end in enumerate((2, 11, 5, 1, 8)):
        ids[row, end], ids[row, end + 1 :] = EOS, 0
    found, wanted = ours(ids), theirs(ids)
    assert torch.equal(found, wanted)
    found.square().sum().backward()
    wanted.square().sum().backward()
    for name, each in theirs.named_parameters():
        assert torch.equal(ours.get_parameter(name).grad, each.grad)  # type: ignore[arg-type]
    with torch.inference_mode():
        assert torch.equal(ours.eval()(ids), theirs.eval()(ids))
        short = ids[3:4, :4]
        assert torch.allclose(ours(short), wanted[3:4], atol=1e-6)
