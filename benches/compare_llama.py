#!/usr/bin/env python3
"""8-bit generation of shape D here and by llama.cpp's Q8_0, in alternation: tokens/s of decoding and of a
prompt of 256 tokens, medians of five rounds, for one thread and two.

    pip install llama-cpp-python gguf numpy
    make && python3 benches/compare_llama.py [THREADS...]

Both sides have random weights of the same sizes: llama.cpp runs a GPT-2 that this program writes as a
GGUF file, with E, attention and feed-forward matrices as Q8_0 and an output matrix tied to E. Its
attention has a matrix behind it that this library's original block lacks, 7 % more weights; the ratio
counts bytes of weights, so that both are measured by what they have to read. No text is generated: the
ids are given. Nothing is downloaded.
"""

import ctypes as c
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

VOCAB, DIM, LAYERS, HEADS, CONTEXT = 32000, 768, 12, 12, 512
PROMPT, DECODED, ROUNDS = 256, 32, 5
#: Bytes of a weight: here blocks of 64 with a scale of two bytes, there blocks of 32.
OUR_BYTES, THEIR_BYTES = 1 + 2 / 64, 1 + 2 / 32


def layer_weights(output: bool) -> int:
    """Weights of the matrices of a layer."""
    return (12 if output else 11) * DIM * DIM


def weight_bytes(output: bool, each: float) -> float:
    """Bytes that a token of decoding reads of all matrices."""
    return each * (LAYERS * layer_weights(output) + VOCAB * DIM)


class Ours:
    """This library, through its C interface."""

    class Config(c.Structure):
        _fields_ = [(name, c.c_uint32) for name in (
            "vocab_size", "embedding_dim", "num_layers", "num_heads", "ff_dim", "max_seq_len")]
        _fields_ += [("dropout", c.c_float)]

    def __init__(self) -> None:
        path = os.environ.get("CLLM_LIBRARY", Path(__file__).parent.parent / "libcllm.so.1")
        self.lib = lib = c.CDLL(str(path))
        for name in ("create_model_seeded", "quantize_model", "inference_init"):
            getattr(lib, "cllm_" + name).restype = c.c_void_p
        lib.cllm_version.restype = c.c_char_p
        config = self.Config(VOCAB, DIM, LAYERS, HEADS, 4 * DIM, CONTEXT, 0.0)
        model = c.c_void_p(lib.cllm_create_model_seeded(c.byref(config), c.c_uint64(1)))
        self.model = c.c_void_p(lib.cllm_quantize_model(model, 0))
        lib.cllm_free_model(model)
        if not self.model:
            raise SystemExit("this library can't make the model")
        self.context = c.c_void_p(lib.cllm_inference_init(self.model))
        self.ids = (c.c_uint32 * CONTEXT)(*(i * 7919 % VOCAB for i in range(CONTEXT)))

    def name(self) -> str:
        return "cllm " + self.lib.cllm_version().decode()

    def threads(self, count: int) -> None:
        self.lib.cllm_inference_set_threads(self.context, count)

    def prompt(self, length: int) -> None:
        self.ids[0] ^= 1  # nothing of it is cached
        self.lib.cllm_forward(self.context, self.ids, length)

    def decode(self, start: int, count: int) -> None:
        for length in range(start + 1, start + count + 1):
            self.lib.cllm_forward(self.context, self.ids, length)


def write_gguf(path: Path) -> None:
    """A GPT-2 of D's sizes with random weights, its matrices in Q8_0."""
    import gguf
    import numpy as np

    rng = np.random.default_rng(1)
    writer = gguf.GGUFWriter(str(path), "gpt2")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(DIM)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(4 * DIM)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_eps(1e-5)
    writer.add_vocab_size(VOCAB)
    writer.add_tokenizer_model("no_vocab")

    def matrix(name: str, rows: int, columns: int) -> None:
        values = rng.standard_normal((rows, columns), dtype=np.float32) * 0.02
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)

    def vector(name: str, length: int, value: float) -> None:
        writer.add_tensor(name, np.full(length, value, np.float32))

    matrix("token_embd.weight", VOCAB, DIM)
    writer.add_tensor("position_embd.weight",
                      (rng.standard_normal((CONTEXT, DIM)) * 0.01).astype(np.float32))
    for i in range(LAYERS):
        block = f"blk.{i}."
        for name, rows, columns in (("attn_qkv", 3 * DIM, DIM), ("attn_output", DIM, DIM),
                                    ("ffn_up", 4 * DIM, DIM), ("ffn_down", DIM, 4 * DIM)):
            matrix(f"{block}{name}.weight", rows, columns)
            vector(f"{block}{name}.bias", rows, 0.0)
        for name in ("attn_norm", "ffn_norm"):
            vector(f"{block}{name}.weight", DIM, 1.0)
            vector(f"{block}{name}.bias", DIM, 0.0)
    vector("output_norm.weight", DIM, 1.0)
    vector("output_norm.bias", DIM, 0.0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class Theirs:
    """llama.cpp, through the low interface of llama-cpp-python."""

    def __init__(self, path: Path) -> None:
        import llama_cpp

        self.api, self.path, self.context = llama_cpp, path, None
        llama_cpp.llama_backend_init()
        parameters = llama_cpp.llama_model_default_params()
        parameters.n_gpu_layers = 0
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
        if not self.model:
            raise SystemExit("llama.cpp can't read the model")

    def name(self) -> str:
        return "llama-cpp-python " + str(self.api.__version__)

    def threads(self, count: int) -> None:
        parameters = self.api.llama_context_default_params()
        parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = CONTEXT
        parameters.n_threads = parameters.n_threads_batch = count
        if self.context:
            self.api.llama_free(self.context)
        self.context = self.api.llama_init_from_model(self.model, parameters)
        if not self.context:
            raise SystemExit("llama.cpp can't make a context")

    def _run(self, first: int, count: int) -> None:
        ids = (self.api.llama_token * count)(*((first + i) * 7919 % VOCAB for i in range(count)))
        batch = self.api.llama_batch_get_one(ids, count)
        if self.api.llama_decode(self.context, batch) != 0:
            raise SystemExit("llama.cpp can't decode")

    def prompt(self, length: int) -> None:
        self.api.llama_memory_clear(self.api.llama_get_memory(self.context), True)
        self._run(0, length)

    def decode(self, start: int, count: int) -> None:
        for i in range(count):
            self._run(start + i, 1)


def seconds(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(ours: Ours, theirs: Theirs, threads: int) -> None:
    rates = {(side, what): [] for side in (ours, theirs) for what in ("decoding", "prompt")}
    for side in (ours, theirs):
        side.threads(threads)
        side.prompt(PROMPT)
    for _ in range(ROUNDS):
        for side in (ours, theirs):
            rates[side, "prompt"].append(PROMPT / seconds(lambda: side.prompt(PROMPT)))
            side.prompt(16)
            rates[side, "decoding"].append(DECODED / seconds(lambda: side.decode(16, DECODED)))
    for what in ("decoding", "prompt"):
        mine, other = (statistics.median(rates[side, what]) for side in (ours, theirs))
        line = f"{what:10} {threads:7} {mine:10.1f} {other:10.1f} {mine / other:7.2f}"
        if what == "decoding":
            per_byte = mine * weight_bytes(False, OUR_BYTES) / (other * weight_bytes(True, THEIR_BYTES))
            line += f"   {per_byte:.2f} by bytes of weights"
        print(line, flush=True)


def main() -> None:
    threads = [int(count) for count in sys.argv[1:]] or [1, 2]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "d.gguf"
        write_gguf(path)
        ours, theirs = Ours(), Theirs(path)
        print(f"{ours.name()}, {theirs.name()}; tokens/s, medians of {ROUNDS} alternating rounds")
        print(f"{'what':10} {'threads':>7} {'ours':>10} {'theirs':>10} {'ratio':>7}")
        for count in threads:
            compare(ours, theirs, count)


if __name__ == "__main__":
    main()
