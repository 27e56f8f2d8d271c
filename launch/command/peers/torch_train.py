"""The model of `thinwire bench train` in Python torch, eager: forward, backward and AdamW on random tokens.

Prints {"torch": VERSION, "tokens_per_s": X} for one repetition after one that is not counted.
Usage: torch_train.py LAYERS WIDTH HEADS MLP_WIDTH VOCAB BATCH SEQUENCE STEPS THREADS
"""
import json
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

layers, width, heads, mlp_width, vocab, batch, sequence, steps, threads = map(int, sys.argv[1:])
torch.set_num_threads(threads)
torch.manual_seed(0)


def rotary_table(length, head_width):
    exponents = torch.arange(0, head_width, 2, dtype=torch.double) / head_width
    angles = torch.outer(torch.arange(length, dtype=torch.double), 10000.0 ** -exponents)
    return torch.polar(torch.ones_like(angles), angles).to(torch.cfloat)


def rotate(x, rotary):
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * rotary).flatten(-2)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(width, width, bias=False) for _ in range(4))

    def forward(self, x, rotary):
        def split(y):
            return y.view(*y.shape[:2], heads, -1)

        q = rotate(split(self.q(x)), rotary).transpose(1, 2)
        k = rotate(split(self.k(x)), rotary).transpose(1, 2)
        v = split(self.v(x)).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o(mixed.transpose(1, 2).flatten(-2))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention_norm = nn.RMSNorm(width, eps=1e-5)
        self.attention = Attention()
        self.mlp_norm = nn.RMSNorm(width, eps=1e-5)
        self.gate = nn.Linear(width, mlp_width, bias=False)
        self.up = nn.Linear(width, mlp_width, bias=False)
        self.down = nn.Linear(mlp_width, width, bias=False)

    def forward(self, x, rotary):
        x = x + self.attention(self.attention_norm(x), rotary)
        y = self.mlp_norm(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Llama(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(vocab, width)
        self.blocks = nn.ModuleList(Block() for _ in range(layers))
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.rotary = rotary_table(sequence, width // heads).unsqueeze(1)

    def forward(self, tokens):
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, self.rotary)
        return F.linear(self.norm(x), self.embedding.weight)


model = Llama()
optimizer = torch.optim.AdamW(model.parameters(), lr=6e-4, betas=(0.9, 0.95), weight_decay=0.1)
tokens, targets = torch.randint(vocab, (2, batch, sequence))
for _ in range(2):
    start = time.perf_counter()
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(tokens).flatten(0, 1), targets.flatten()).backward()
        optimizer.step()
    seconds = time.perf_counter() - start
print(json.dumps({"torch": torch.__version__, "tokens_per_s": steps * batch * sequence / seconds}))
