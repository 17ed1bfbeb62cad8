#!/usr/bin/env python3
"""Trains the same model, from the same weights on the same batches, with this library and with
PyTorch: prints how far the losses of 50 steps lie apart, then the tokens per second of both in
alternation. With --bf16 both multiply in bfloat16: this library by `precision` of its options, PyTorch
by autocast. For shape D the same with prompts of 256 tokens and token-by-token decoding. Needs
PyTorch, a C compiler and `make lib`.

    python3 benches/compare_torch.py [S] [M] [D] [--threads 1 2] [--rounds 5] [--bf16]
"""
import argparse
import ctypes
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
import torch.nn.functional as F

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SHAPES = {"S": (1000, 128, 4, 4, 128, 16), "M": (5000, 384, 6, 6, 256, 8),
          "D": (32000, 768, 12, 12, 512, 1)}
STEPS, RATE = 50, 3e-4


def bridge():
    folder = tempfile.mkdtemp()
    path = os.path.join(folder, "bridge.so")
    library = os.environ.get("CLLM_LIBRARY_DIR", ROOT)
    subprocess.check_call(
        ["cc", "-O2", "-shared", "-fPIC", f"-I{ROOT}/include", f"{ROOT}/benches/compare_bridge.c",
         "-o", path, f"-L{library}", "-lcllm", f"-Wl,-rpath,{library}"])
    c = ctypes.CDLL(path)
    pointer = ctypes.c_void_p
    c.bridge_model.restype = c.bridge_training.restype = pointer
    c.bridge_weights.restype = c.bridge_positions.restype = ctypes.POINTER(ctypes.c_float)
    c.bridge_count.restype = ctypes.c_long
    c.bridge_step.restype = ctypes.c_float
    c.bridge_weights.argtypes = c.bridge_count.argtypes = c.bridge_positions.argtypes = [pointer]
    c.bridge_training.argtypes = [pointer, ctypes.c_int, ctypes.c_int, ctypes.c_float,
                                  ctypes.POINTER(ctypes.c_uint32), ctypes.c_long, ctypes.c_int]
    c.bridge_step.argtypes = [pointer, ctypes.c_int, ctypes.c_int]
    c.bridge_inference.restype = pointer
    c.bridge_inference.argtypes = [pointer, ctypes.c_int]
    c.bridge_forward.restype = ctypes.POINTER(ctypes.c_float)
    c.bridge_forward.argtypes = [pointer, ctypes.POINTER(ctypes.c_uint32), ctypes.c_int]
    return c


class Torch:
    """The model in PyTorch: pre-norm blocks without output matrix after attention, a last norm
    without parameters, tied embedding."""

    def __init__(self, shape, weights, positions):
        vocab, d, self.layers, self.heads, length, _ = shape
        at = 0

        def take(*size):
            nonlocal at
            count = int(np.prod(size))
            at += count
            tensor = torch.from_numpy(weights[at - count:at].copy()).reshape(size)
            return tensor.requires_grad_()

        self.embedding = take(vocab, d)
        # Q, K and V as one matrix, as a good PyTorch program has them.
        self.qkv = [take(3 * d, d) for _ in range(self.layers)]
        self.ff = [(take(4 * d, d), take(4 * d), take(d, 4 * d), take(d))
                   for _ in range(self.layers)]
        self.norms = [(take(d), take(d)) for _ in range(2 * self.layers)]
        assert at == len(weights)
        self.positions = torch.from_numpy(positions.copy()).reshape(length, d).requires_grad_()
        matrices = [self.embedding, self.positions, *self.qkv]
        vectors = [t for norm in self.norms for t in norm]
        for w1, b1, w2, b2 in self.ff:
            matrices += [w1, w2]
            vectors += [b1, b2]
        self.all = matrices + vectors
        groups = [{"params": matrices, "weight_decay": 0.01},
                  {"params": vectors, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.999), eps=1e-8,
                                           fused=True)

    def loss(self, tokens, targets):
        batch, length = tokens.shape
        d = self.embedding.shape[1]
        x = F.embedding(tokens, self.embedding) + self.positions[:length]
        for l in range(self.layers):
            h = F.layer_norm(x, (d,), *self.norms[l])
            q, k, v = (t.view(batch, length, self.heads, -1).transpose(1, 2)
                       for t in F.linear(h, self.qkv[l]).split(d, dim=2))
            a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + a.transpose(1, 2).reshape(batch, length, d)
            w1, b1, w2, b2 = self.ff[l]
            h = F.layer_norm(x, (d,), *self.norms[self.layers + l])
            x = x + F.linear(F.gelu(F.linear(h, w1, b1), approximate="tanh"), w2, b2)
        logits = F.linear(F.layer_norm(x, (d,)), self.embedding)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1))

    def step(self, tokens, targets, bf16):
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = self.loss(tokens, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.all, 1.0)
        self.optimizer.step()
        return loss.item()


    def start(self):
        """Key/value caches of a sequence, in memory of their final size."""
        length, d = self.positions.shape
        size = (self.layers, 1, self.heads, length, d // self.heads)
        self.keys, self.values, self.used = torch.zeros(size), torch.zeros(size), 0

    def extend(self, tokens):
        """The logits after more tokens of the sequence."""
        n, d = len(tokens), self.embedding.shape[1]
        first, last = self.used, self.used + n
        x = F.embedding(tokens, self.embedding) + self.positions[first:last]
        x = x.unsqueeze(0)
        for l in range(self.layers):
            h = F.layer_norm(x, (d,), *self.norms[l])
            q, k, v = (t.view(1, n, self.heads, -1).transpose(1, 2)
                       for t in F.linear(h, self.qkv[l]).split(d, dim=2))
            self.keys[l][:, :, first:last], self.values[l][:, :, first:last] = k, v
            a = F.scaled_dot_product_attention(q, self.keys[l][:, :, :last],
                                               self.values[l][:, :, :last], is_causal=n > 1)
            x = x + a.transpose(1, 2).reshape(1, n, d)
            w1, b1, w2, b2 = self.ff[l]
            h = F.layer_norm(x, (d,), *self.norms[self.layers + l])
            x = x + F.linear(F.gelu(F.linear(h, w1, b1), approximate="tanh"), w2, b2)
        self.used = last
        return F.linear(F.layer_norm(x[0, -1], (d,)), self.embedding)


def made(c, shape):
    """The same model twice: ours, and PyTorch's from its weights."""
    vocab, d, layers, heads, length, _ = shape
    model = c.bridge_model(vocab, d, layers, heads, length)
    count = c.bridge_count(model)
    weights = np.ctypeslib.as_array(c.bridge_weights(model), (count,))
    positions = np.ctypeslib.as_array(c.bridge_positions(model), (length * d,))
    return model, Torch(shape, weights, positions)


PROMPT, DECODED = 256, 32


def generation(c, name, threads_list, rounds):
    shape = SHAPES[name]
    model, theirs = made(c, shape)
    ids = (np.arange(PROMPT + DECODED, dtype=np.int64) * 7919 % shape[0]).astype(np.uint32)
    pointer = ids.ctypes.data_as(ctypes.POINTER(ctypes.c_uint32))
    torch_ids = torch.from_numpy(ids.astype(np.int64))
    ok = True
    for threads in threads_list:
        torch.set_num_threads(threads)
        inference = c.bridge_inference(model, threads)
        rates = []
        for r in range(rounds + 1):
            # Another first token: nothing of the sequence before can be used again.
            ids[0], torch_ids[0] = r, r
            times = [time.perf_counter()]
            c.bridge_forward(inference, pointer, PROMPT)
            times.append(time.perf_counter())
            for n in range(PROMPT + 1, PROMPT + DECODED + 1):
                logits = c.bridge_forward(inference, pointer, n)
            times.append(time.perf_counter())
            with torch.inference_mode():
                theirs.start()
                theirs.extend(torch_ids[:PROMPT])
                times.append(time.perf_counter())
                for n in range(PROMPT, PROMPT + DECODED):
                    torch_logits = theirs.extend(torch_ids[n:n + 1])
            times.append(time.perf_counter())
            if r > 0:
                rates.append(np.diff(times))
        apart = np.abs(np.ctypeslib.as_array(logits, (shape[0],)) - torch_logits.numpy()).max()
        ok = ok and apart < 1e-3
        for what, tokens, column in [("prompt", PROMPT, 0), ("decoding", DECODED, 1)]:
            ours = statistics.median(tokens / t[column] for t in rates)
            other = statistics.median(tokens / t[column + 2] for t in rates)
            ratio = statistics.median(t[column + 2] / t[column] for t in rates)
            print(f"  {name} {what}, {threads} threads: {ours:8.1f} tokens/s, "
                  f"PyTorch {other:8.1f}, ratio {ratio:.2f}")
        print(f"  {name}: logits at most {apart:.1e} apart")
    return ok


def compare(c, name, threads_list, rounds, bf16):
    shape = SHAPES[name]
    vocab, d, layers, heads, length, batch = shape
    rows = batch * length
    random = np.random.default_rng(1)
    # Each id is often followed by the same one, so that there is something to learn.
    ids = random.integers(0, vocab, STEPS * rows + 1).astype(np.uint32)
    for i in range(1, len(ids)):
        if random.random() < 0.5:
            ids[i] = (int(ids[i - 1]) * 7 + 1) % vocab
    model, theirs = made(c, shape)
    pointer = ids.ctypes.data_as(ctypes.POINTER(ctypes.c_uint32))
    ours = c.bridge_training(model, batch, length, RATE, pointer, len(ids), int(bf16))
    if not ours:
        sys.exit("this processor can't train in bfloat16")

    def torch_step(i):
        part = torch.from_numpy(ids[i * rows:(i + 1) * rows + 1].astype(np.int64))
        return theirs.step(part[:-1].view(batch, length), part[1:].view(batch, length), bf16)

    apart = 0.0
    torch.set_num_threads(max(threads_list))
    for i in range(STEPS):
        a, b = c.bridge_step(ours, i, max(threads_list)), torch_step(i)
        apart = max(apart, abs(a - b))
        if i in (0, STEPS // 2, STEPS - 1):
            print(f"  {name} step {i + 1:2}: loss {a:.5f}, PyTorch {b:.5f}")
    print(f"  {name}: losses of {STEPS} steps at most {apart:.1e} apart")
    ok = apart < (5e-2 if bf16 else 1e-3)

    for threads in threads_list:
        torch.set_num_threads(threads)
        # Batches of some tenths of a second each.
        steps = 6 if name == "S" else 1
        rates, ratios = [], []
        for _ in range(rounds):
            start = time.perf_counter()
            for i in range(steps):
                c.bridge_step(ours, i, threads)
            middle = time.perf_counter()
            for i in range(steps):
                torch_step(i)
            end = time.perf_counter()
            rates.append((steps * rows / (middle - start), steps * rows / (end - middle)))
            ratios.append((end - middle) / (middle - start))
        ours_rate, torch_rate = (statistics.median(r) for r in zip(*rates))
        print(f"  {name}, {threads} threads: {ours_rate:8.0f} tokens/s, PyTorch {torch_rate:8.0f}, "
              f"ratio {statistics.median(ratios):.2f}")
    return ok


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("shapes", nargs="*", default=["S", "M", "D"])
    parser.add_argument("--threads", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bf16", action="store_true", help="training in bfloat16")
    args = parser.parse_args()
    print(f"PyTorch {torch.__version__}")
    c = bridge()
    results = [generation(c, name, args.threads, args.rounds) if name == "D"
               else compare(c, name, args.threads, args.rounds, args.bf16)
               for name in args.shapes]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
