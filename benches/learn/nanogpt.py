"""A small GPT in PyTorch, trained as nanoGPT's documentation says for a processor: 4 layers, 4 heads, width
128, windows of 64 characters, batches of 12, no dropout, no biases, AdamW with a rate of 1e-3 that falls to
1e-4 by a cosine, 100 steps of warm-up, β₂ 0.99, weight decay 0.1, clipping at 1. It states 2,000 steps; here
there are as many as the time holds, which is what it would be given."""

import math
import time

import torch
from torch import nn
from torch.nn import functional as F

LAYERS, HEADS, WIDTH, BLOCK, BATCH = 4, 4, 128, 64, 12
RATE, RATE_LEAST, WARMUP, CLIP = 1e-3, 1e-4, 100, 1.0


class Norm(nn.Module):
    """A layer norm that scales, without a shift."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x):
        return F.layer_norm(x, (WIDTH,), self.weight, None, 1e-5)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = Norm(), Norm()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.output = nn.Linear(WIDTH, WIDTH, bias=False)
        self.up = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.down = nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x):
        shape = x.shape
        heads = (*shape[:2], HEADS, WIDTH // HEADS)
        q, k, v = (part.view(heads).transpose(1, 2) for part in self.qkv(self.norm1(x)).split(WIDTH, dim=2))
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.output(attended.transpose(1, 2).reshape(shape))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Model(nn.Module):
    """GPT-2 with tied embeddings."""

    def __init__(self, vocab):
        super().__init__()
        self.embeddings, self.positions = nn.Embedding(vocab, WIDTH), nn.Embedding(BLOCK, WIDTH)
        self.blocks, self.norm = nn.ModuleList(Block() for _ in range(LAYERS)), Norm()
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                residual = name.endswith(("output.weight", "down.weight"))
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * LAYERS) if residual else 0.02)

    def loss(self, x, y, reduction="mean"):
        h = self.embeddings(x) + self.positions.weight[:x.shape[1]]
        for block in self.blocks:
            h = block(h)
        logits = F.linear(self.norm(h), self.embeddings.weight)
        return F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction=reduction)


def rate(step, steps):
    if step < WARMUP:
        return RATE * (step + 1) / (WARMUP + 1)
    part = min(1, (step - WARMUP) / max(1, steps - WARMUP))
    return RATE_LEAST + 0.5 * (RATE - RATE_LEAST) * (1 + math.cos(math.pi * part))


def evaluate(model, ids):
    """Nats of all ids but the first, in windows that don't see each other."""
    total = 0.0
    with torch.no_grad():
        for at in range(0, len(ids) - 1, BLOCK):
            x = ids[at:min(at + BLOCK, len(ids) - 1)]
            total += model.loss(x[None], ids[at + 1:at + 1 + len(x)][None], "sum").item()
    return total


def measure(train, held, seconds, seed, threads):
    """Bits per byte of `held` after so many seconds of training on `train`. A character is a byte."""
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    alphabet = {byte: i for i, byte in enumerate(sorted(set(train + held)))}
    train, held = (torch.tensor([alphabet[byte] for byte in text]) for text in (train, held))
    model = Model(len(alphabet))
    decayed = [w for w in model.parameters() if w.dim() == 2]
    others = [w for w in model.parameters() if w.dim() < 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.99), fused=True)
    began, step, steps = time.monotonic(), 0, 1 << 30
    while step < steps:
        at = torch.randint(len(train) - BLOCK, (BATCH,)).tolist()
        x = torch.stack([train[i:i + BLOCK] for i in at])
        y = torch.stack([train[i + 1:i + 1 + BLOCK] for i in at])
        for group in optimizer.param_groups:
            group["lr"] = rate(step, steps)
        loss = model.loss(x, y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        step += 1
        passed = time.monotonic() - began
        if step % 20 == 0 or passed >= seconds:  # the first steps are slow: the end is moved as it is seen
            steps = max(step, int(step * seconds / passed))
    return evaluate(model, held) / math.log(2) / len(held)
