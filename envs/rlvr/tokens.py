"""Between words and tokens: the tasks' own tokenizers, prompts through a chat template, completions back to text."""

import functools
from collections.abc import Sequence
from typing import Any

CHATS = ("auto", "always", "never")
PAD, BOS, EOS, UNKNOWN = SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")


@functools.cache
def characters(alphabet: str) -> Any:
    """A tokenizer with one token per character of `alphabet`, after pad, bos, eos and unknown."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {token: i for i, token in enumerate((*SPECIAL, *alphabet))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return _finished(tokenizer)


@functools.cache
def utf8() -> Any:
    """A tokenizer with one token per byte, after pad, bos, eos and unknown: a vocabulary of 260 for any text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate((*SPECIAL, *alphabet))}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges=[], unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return _finished(tokenizer)


def _finished(tokenizer: Any) -> Any:
    """With transformers' interface; every text begins with bos, and one that spells "<eos>" does not end there."""
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    bos = tokenizer.token_to_id(BOS)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, bos)])
    names = {"pad_token": PAD, "bos_token": BOS, "eos_token": EOS, "unk_token": UNKNOWN}
    options = {"clean_up_tokenization_spaces": False, "split_special_tokens": True}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **options, **names)


def check(tokenizer: Any, chat: str) -> None:
    """Raise ValueError naming what the tokenizer lacks."""
    of = f"the tokenizer of {getattr(tokenizer, 'name_or_path', '') or 'this model'}"
    if tokenizer.eos_token_id is None:
        raise ValueError(
            f"eos_token=null: {of} must have one; set it in the folder's tokenizer_config.json, "
            f"or use a model whose tokenizer has it"
        )
    if chat == "always" and not tokenizer.chat_template:
        raise ValueError(f"chat=always: {of} has no chat template; use env.chat=auto or env.chat=never")


def encode(prompt: str, tokenizer: Any, chat: str, thinking: bool = False) -> list[int]:
    """The prompt as tokens, as a user's message where `chat` and the tokenizer say so; raises what `check` raises."""
    check(tokenizer, chat)
    if chat == "never" or not tokenizer.chat_template:
        return tokenizer(prompt)["input_ids"]
    message = [{"role": "user", "content": prompt}]
    options = {"add_generation_prompt": True, "enable_thinking": thinking, "return_dict": False}
    return tokenizer.apply_chat_template(message, **options)


def decode(completion: Sequence[int], tokenizer: Any, stops: Sequence[int] = ()) -> str:
    """A completion as text, without the eos, or the one of `stops`, that ended it.

    Any other special token stays visible, so that it is graded too.
    """
    ids = [int(token) for token in completion]
    if ids and ids[-1] in (tokenizer.eos_token_id, *stops):
        ids.pop()
    return tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
