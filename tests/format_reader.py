#!/usr/bin/env python3
"""Dumps a model file, a checkpoint, the state of a generation, a vocabulary (.txt) or a data set
(.bin) as JSON. Written from docs/FORMAT.md; standard library only."""

import array
import json
import struct
import sys
import zlib

HEADER = [
    ("magic", "8s"), ("version", "I"), ("model_name", "256s"), ("description", "1024s"),
    ("padding", "4s"), ("vocab_size", "Q"), ("num_lattice_points", "Q"), ("embedding_dim", "Q"),
    ("num_layers", "Q"), ("created_timestamp", "Q"), ("modified_timestamp", "Q"),
    ("symmetry_order", "I"), ("architecture", "I"), ("num_heads", "I"), ("context_length", "I"),
    ("golden_ratio", "d"), ("timestamp", "Q"), ("total_params", "Q"), ("reserved", "192s"),
]
TABLES = ["spiral", "clock", "prime", "learned"]
COLUMNS = [
    ("token_id", "I"), ("prime_encoding", "Q"), ("lattice_coords", "3f"), ("angle", "f"),
    ("radius", "f"), ("frequency", "f"), ("symmetry_group", "I"), ("spiral_angle", "f"),
    ("radial_distance", "f"), ("reserved", "20s"),
]


def state(data, crc):
    return "ok" if zlib.crc32(data) == crc else "wrong"


def text(field):
    return field.split(b"\0")[0].decode()


class Tensors:
    """Takes tensors from the front of some bytes."""

    def __init__(self, data, out):
        self.data, self.at, self.out = data, 0, out

    def take(self, name, length):
        end = self.at + 4 * length
        if end > len(self.data):
            sys.exit(f"{name} goes past the end")
        values = array.array("f", self.data[self.at:end])
        if sys.byteorder == "big":
            values.byteswap()
        if name is not None:
            self.out[name] = {"length": length, "sum": sum(values)}
        self.at = end

    def end(self):
        if self.at != len(self.data):
            sys.exit(f"{len(self.data) - self.at} bytes too many")


def read_header(data):
    header = dict(zip((n for n, _ in HEADER), struct.unpack("<" + "".join(t for _, t in HEADER), data[:1576])))
    if header["magic"][:4] != b"CLLM":
        sys.exit("not a model file")
    reserved = header.pop("reserved")
    header.pop("padding")
    header["magic"] = header["magic"].hex()
    header["model_name"] = text(header["model_name"])
    header["description"] = text(header["description"])
    return header, reserved


def read_shape(payload):
    v, d, l, norms, s, layout, has_e, transforms, *tables = struct.unpack_from("<12I", payload)
    layers = [dict(zip(("heads", "hidden", "bits"), struct.unpack_from("<3I", payload, 48 + 12 * i))) for i in range(l)]
    start = 48 + 12 * l
    norm_list = [dict(zip(("epsilon", "bits"), struct.unpack_from("<fI", payload, start + 8 * i))) for i in range(norms)]
    if len(payload) != start + 8 * norms:
        sys.exit("SHAP has a wrong length")
    return {
        "vocab": v, "dim": d, "max_length": s, "layout": ["full", "per head"][layout],
        "embeddings": has_e, "transforms": transforms, "tables": tables,
        "layers": layers, "norms": norm_list,
    }


def guess_shape(header, size):
    v, d, l = header["vocab_size"], header["embedding_dim"], header["num_layers"]
    n, rest = divmod(size - 1576, 4)
    if rest:
        sys.exit("cut short")
    fixed, step = v * d + l * (3 * d * d + d), l * (2 * d + 1)

    def fits(f, t):
        return fixed + step * f + t * d * d == n

    stated, odd = divmod(header["total_params"] - v * d - l * (3 * d * d + 5 * d), step)
    if fits(4 * d, 0):
        f, t = 4 * d, 0
    elif stated > 0 and not odd:
        f, t = stated, next((t for t in range(3) if fits(stated, t)), None)
    else:
        t = next((t for t in range(3) if (n - fixed - t * d * d) > 0 and (n - fixed - t * d * d) % step == 0), None)
        f = None if t is None else (n - fixed - t * d * d) // step
    if t is None:
        sys.exit("the length fits no sizes")
    heads = header["num_heads"]
    if d % heads:
        heads = max(h for h in range(1, 9) if d % h == 0)
    return {
        "vocab": v, "dim": d, "max_length": header["context_length"], "layout": "per head",
        "embeddings": 1, "transforms": [0, 1, 3][t], "tables": [2] * 4,
        "layers": [{"heads": heads, "hidden": f, "bits": 15}] * l,
        "norms": [{"epsilon": 1e-5, "bits": 0}] * l,
    }


def read_body(data, shape, tensors, transforms):
    body, d = Tensors(data, tensors), shape["dim"]
    body.take("embeddings" if shape["embeddings"] else None, shape["vocab"] * d)
    if transforms:
        read_transforms(body, shape)
    for i, layer in enumerate(shape["layers"]):
        for name in ("query", "key", "value"):
            body.take(f"{name} {i}" if layer["bits"] & 1 else None, d * d)
    for i, layer in enumerate(shape["layers"]):
        f, bits = layer["hidden"], layer["bits"]
        for name, length, bit in (("w1", d * f, 2), ("b1", f, 4), ("w2", f * d, 2), ("b2", d, 8)):
            body.take(f"{name} {i}" if bits & bit else None, length)
    body.end()


def read_biases(source, shape):
    """What a body has beside matrices, where there is no body."""
    for i, layer in enumerate(shape["layers"]):
        for name, length, bit in (("b1", layer["hidden"], 4), ("b2", shape["dim"], 8)):
            if layer["bits"] & bit:
                source.take(f"{name} {i}", length)


def read_int8(payload, shape, architecture, tensors):
    if struct.unpack_from("<II", payload) != (64, 1):
        sys.exit("INT8 is of a kind that this reader does not know")
    if shape["layout"] != "full":
        sys.exit("INT8 with attention by head")
    d, layers = shape["dim"], list(enumerate(shape["layers"]))
    attention = [i for i, layer in layers if layer["bits"] & 1]
    matrices = [("embeddings", shape["vocab"], d)] * shape["embeddings"]
    matrices += [(f"{name} {i}", d, d) for i in attention for name in ("query", "key", "value")]
    for i, layer in layers:
        if layer["bits"] & 2:
            matrices += [(f"w1 {i}", layer["hidden"], d), (f"w2 {i}", d, layer["hidden"])]
    if architecture.get("output"):
        matrices += [(f"output {i}", d, d) for i in attention]
    if architecture.get("untied"):
        matrices.append(("head", shape["vocab"], d))
    at = 8
    for name, rows, inputs in matrices:
        total, blocks = 0.0, -(-inputs // 64)
        for _ in range(rows):
            numbers = struct.unpack_from(f"<{inputs}b", payload, at)
            halves = struct.unpack_from(f"<{blocks}H", payload, at + inputs)
            scales = [struct.unpack("<f", struct.pack("<I", half << 16))[0] for half in halves]
            if -128 in numbers or any(half & 0x7F80 == 0x7F80 for half in halves):
                sys.exit(f"{name} has a number that is none")
            total += sum(q * scales[i // 64] for i, q in enumerate(numbers))
            at += inputs + 2 * blocks
        tensors[name] = {"length": rows * inputs, "sum": total}
    if at != len(payload):
        sys.exit("INT8 has a wrong length")


def read_architecture(payload):
    bits, activation = struct.unpack("<II", payload)
    names = ["rotary", "qk_norm", "output", "untied", "sharp", "shifted_keys"]
    if bits >> len(names):
        sys.exit("ARCH has a bit that this reader does not know")
    architecture = {name: bits >> bit & 1 for bit, name in enumerate(names)}
    architecture["activation"] = ["gelu", "squared relu"][activation]
    return architecture


def read_transforms(source, shape):
    for bit, name in enumerate(("transform", "inverse")):
        if shape["transforms"] >> bit & 1:
            source.take(name, shape["dim"] ** 2)


def read_model(data):
    header, reserved = read_header(data)
    out = {"header": header, "sections": [], "tensors": {}}
    if not any(reserved):
        out["shape"] = guess_shape(header, len(data))
        read_body(data[1576:], out["shape"], out["tensors"], True)
        return out
    magic, version, count, offset, length, body_crc, header_crc, trained = struct.unpack_from("<8sIIQQIIQ", reserved)
    if magic != b"CLLM-EXT" or version not in (1, 2) or offset + length != len(data):
        sys.exit("not an extension that this reader knows")
    out["header_crc"] = state(data[:1420] + bytes(4) + data[1424:1576], header_crc)
    out["body_crc"] = state(data[1576:offset], body_crc)
    out["training_timestamp"] = trained

    sections, at = {}, offset
    while at < len(data):
        tag, flags, n, crc, frame_crc = struct.unpack_from("<4sIQII", data, at)
        payload = data[at + 24:at + 24 + n]
        good = state(data[at:at + 20], frame_crc) == "ok" and len(payload) == n and state(payload, crc) == "ok"
        out["sections"].append({"tag": tag.decode(), "offset": at, "length": n, "flags": flags, "crc": "ok" if good else "wrong"})
        sections[tag] = payload
        at += 24 + n
    if len(out["sections"]) != count or out["sections"][0]["tag"] != "SHAP":
        sys.exit("wrong sections")

    shape = out["shape"] = read_shape(sections[b"SHAP"])
    d, tensors = shape["dim"], out["tensors"]
    architecture = {}
    if b"ARCH" in sections:
        architecture = out["architecture"] = read_architecture(sections[b"ARCH"])
    if (b"INT8" in sections) != (version == 2):
        sys.exit("INT8 and version 2 go together")
    weights = Tensors(sections.get(b"WGHT", b""), tensors)
    if version == 2:
        if offset != 1576:
            sys.exit("a body beside matrices of 8 bits")
        read_int8(sections[b"INT8"], shape, architecture, tensors)
        read_biases(weights, shape)
    else:
        read_body(data[1576:offset], shape, tensors, False)
        for i, layer in enumerate(shape["layers"]):
            if architecture.get("output") and layer["bits"] & 1:
                weights.take(f"output {i}", d * d)
        if architecture.get("untied"):
            weights.take("head", shape["vocab"] * d)
    weights.end()
    if b"NORM" in sections:
        source = Tensors(sections[b"NORM"], tensors)
        for i, norm in enumerate(shape["norms"]):
            for bit, name in enumerate(("gamma", "beta")):
                if norm["bits"] >> bit & 1:
                    source.take(f"{name} {i}", d)
        source.end()
    for name, kind in zip(TABLES, shape["tables"]):
        if kind == 2:
            tensors[name] = {"length": shape["max_length"] * d, "sum": 0.0}
    if b"POSN" in sections:
        source = Tensors(sections[b"POSN"], tensors)
        for name, kind in zip(TABLES, shape["tables"]):
            if kind == 1:
                source.take(name, shape["max_length"] * d)
        source.end()
    if b"TRFM" in sections:
        source = Tensors(sections[b"TRFM"], tensors)
        read_transforms(source, shape)
        source.end()
    if b"WORD" in sections:
        out["words"] = read_words(sections[b"WORD"])
    if b"SUBW" in sections:
        out["subwords"] = read_subwords(sections[b"SUBW"], shape, sections)
    if b"TOKN" in sections:
        out["tokens"] = read_tokens(sections[b"TOKN"])
    if b"LATP" in sections:
        (n,) = struct.unpack_from("<Q", sections[b"LATP"])
        records = struct.iter_unpack("<IQQ6f24I3I48s", sections[b"LATP"][8:])
        out["lattice_points"] = [list(r[:-1]) for r in records]
        if len(out["lattice_points"]) != n:
            sys.exit("wrong number of lattice points")
    if b"META" in sections:
        steps, rate, loss, optimizer, _ = struct.unpack("<Qff64s128s", sections[b"META"])
        out["training"] = {"steps": steps, "learning_rate": rate, "loss": loss, "optimizer": text(optimizer)}
    return out


def read_words(payload):
    (count,), at, words = struct.unpack_from("<I", payload), 4, []
    for _ in range(count):
        (n,) = struct.unpack_from("<I", payload, at)
        words.append(payload[at + 4:at + 4 + n].decode("utf-8", "replace"))
        at += 4 + n
    if at != len(payload):
        sys.exit("WORD has a wrong length")
    return words


def read_subwords(payload, shape, sections):
    if b"WORD" in sections or payload != payload.strip():
        sys.exit("SUBW beside WORD, or in white space")
    file = json.loads(payload.decode())
    ids = dict(file["model"]["vocab"])
    ids.update((token["content"], token["id"]) for token in file["added_tokens"])
    if file["model"]["type"] != "BPE" or len(set(ids.values())) > shape["vocab"]:
        sys.exit("SUBW is no BPE, or has too many tokens")
    return {"ids": ids, "merges": len(file["model"]["merges"])}


def read_tokens(payload):
    (count, mask), at, out = struct.unpack_from("<II", payload), 8, {}
    for bit, (name, kind) in enumerate(COLUMNS):
        if mask >> bit & 1:
            size = struct.calcsize("<" + kind)
            values = [struct.unpack_from("<" + kind, payload, at + size * i) for i in range(count)]
            out[name] = [v[0].hex() if kind == "20s" else v[0] if len(v) == 1 else list(v) for v in values]
            at += size * count
    if at != len(payload):
        sys.exit("TOKN has a wrong length")
    return out


def read_checkpoint(data, prefix):
    _, version, count, length = struct.unpack_from("<8sIIQ", data, prefix)
    if version != 1 or prefix + length != len(data):
        sys.exit("not a whole checkpoint")
    (crc,) = struct.unpack_from("<I", data, len(data) - 4)
    out = {"prefix": data[:prefix].hex(), "crc": state(data[:-4], crc), "entries": {}}
    at = prefix + 24
    for _ in range(count):
        (n,) = struct.unpack_from("<H", data, at)
        key = data[at + 2:at + 2 + n].decode()
        kind, size = struct.unpack_from("<BQ", data, at + 2 + n)
        at += 11 + n
        value = data[at:at + size]
        at += size
        if kind == 5:
            floats = {}
            Tensors(value, floats).take("x", size // 4)
            out["entries"][key] = floats["x"]
        elif kind == 6:
            out["entries"][key] = value.hex()
        elif kind == 7:
            out["entries"][key] = None
        else:
            (out["entries"][key],) = struct.unpack_from("<" + {1: "Q", 2: "d", 3: "f", 4: "i"}[kind], value)
    if at != len(data) - 4:
        sys.exit("wrong entries")
    return out


def read_generation(data):
    names = ("temperature", "top_p", "min_p", "repetition_penalty", "top_k", "max_tokens", "greedy",
             "key", "stream", "position", "vocab", "dim", "layers", "weights")
    fields = struct.unpack_from("<4fIiI32sQ16s4Q", data, 12)
    (crc,) = struct.unpack_from("<I", data, 8)
    out = dict(zip(names, fields), crc=state(data[12:], crc))
    out["key"] = out["key"].hex()
    out["position"] = int.from_bytes(out["position"], "little")
    at = 128
    for name in ("sequence", "cached"):
        (n,) = struct.unpack_from("<Q", data, at)
        out[name] = list(struct.unpack_from(f"<{n}I", data, at + 8))
        at += 8 + 4 * n
    out["tensors"] = {}
    tables = Tensors(data[at:], out["tensors"])
    for layer in range(out["layers"] if out["cached"] else 0):
        for name in ("keys", "values"):
            tables.take(f"{name} {layer}", len(out["cached"]) * out["dim"])
    tables.end()
    return out


def read_vocabulary(data):
    lines = data.split(b"\n")
    if lines.pop() != b"":
        sys.exit("the last line has no end")
    pairs = [line.rsplit(b"\t", 1) for line in lines]
    return [[word.decode("utf-8", "replace"), int(count)] for word, count in pairs]


def read_dataset(data):
    (n,) = struct.unpack_from("<Q", data)
    if len(data) != 8 + 4 * n:
        sys.exit("a wrong length")
    return list(struct.unpack_from(f"<{n}I", data, 8))


def main():
    with open(sys.argv[1], "rb") as file:
        data = file.read()
    if data[:8] == b"CLLMGEN1":
        print(json.dumps(read_generation(data)))
        return
    if sys.argv[1].endswith(".txt"):
        print(json.dumps(read_vocabulary(data)))
        return
    if sys.argv[1].endswith(".bin"):
        print(json.dumps(read_dataset(data)))
        return
    for prefix in (16, 40):
        if data[prefix:prefix + 8] == b"CLLMSTAT":
            print(json.dumps(read_checkpoint(data, prefix)))
            return
    print(json.dumps(read_model(data)))


if __name__ == "__main__":
    main()
