"""llama.cpp, through llama-cpp-python: Llama-3.2-1B's shape in a GGUF file with random weights, all of them Q4_0."""

import time
from pathlib import Path

import gguf
import llama_cpp
import numpy as np

LAYERS, WIDTH, INNER, HEADS, KV_HEADS, HEAD, VOCABULARY = 16, 2048, 8192, 32, 8, 64, 128256
BLOCK, BYTES = 32, 18  # inputs of a block of Q4_0; its scale in f16 and its codes


def write(path: Path) -> int:
    """The file; returns the bytes of the weights that a step reads (the head is the table of embeddings)."""
    out = gguf.GGUFWriter(path, "llama")
    out.add_context_length(2048)
    out.add_embedding_length(WIDTH)
    out.add_block_count(LAYERS)
    out.add_feed_forward_length(INNER)
    out.add_head_count(HEADS)
    out.add_head_count_kv(KV_HEADS)
    out.add_rope_dimension_count(HEAD)
    out.add_rope_freq_base(5e5)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_vocab_size(VOCABULARY)
    out.add_tokenizer_model("no_vocab")
    rng = np.random.default_rng(0)
    shapes = {
        "attn_q": (WIDTH, WIDTH),
        "attn_k": (KV_HEADS * HEAD, WIDTH),
        "attn_v": (KV_HEADS * HEAD, WIDTH),
        "attn_output": (WIDTH, WIDTH),
        "ffn_gate": (INNER, WIDTH),
        "ffn_up": (INNER, WIDTH),
        "ffn_down": (WIDTH, INNER),
    }
    ones = np.ones(WIDTH, dtype=np.float32)
    total = add(out, "token_embd.weight", (VOCABULARY, WIDTH), rng)
    out.add_tensor("output_norm.weight", ones)
    for layer in range(LAYERS):
        for norm in ("attn_norm", "ffn_norm"):
            out.add_tensor(f"blk.{layer}.{norm}.weight", ones)
        total += sum(add(out, f"blk.{layer}.{name}.weight", shape, rng) for name, shape in shapes.items())
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return total


def add(out: gguf.GGUFWriter, name: str, shape: tuple[int, int], rng: np.random.Generator) -> int:
    rows, cols = shape
    blocks = rng.integers(0, 256, (rows, cols // BLOCK, BYTES), dtype=np.uint8)
    blocks[..., :2] = np.frombuffer(np.float16(0.003).tobytes(), dtype=np.uint8)
    out.add_tensor(name, blocks.reshape(rows, -1), raw_dtype=gguf.GGMLQuantizationType.Q4_0)
    return blocks.nbytes


class Llama:
    """The file, loaded; `run` writes one token after the other."""

    def __init__(self, path: Path) -> None:
        self.quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(self.quiet, None)
        llama_cpp.llama_backend_init()
        options = llama_cpp.llama_model_default_params()
        options.use_mmap = False  # else its weights would not be rearranged for this machine
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), options)
        context = llama_cpp.llama_context_default_params()
        context.n_ctx, context.n_batch = 512, 128
        self.context = llama_cpp.llama_init_from_model(self.model, context)
        if not self.context:
            raise SystemExit("llama.cpp cannot load the file")

    def run(self, prompt: int, new: int, threads: int) -> list[float]:
        """Seconds of each new token after the first, in a fresh context."""
        llama_cpp.llama_set_n_threads(self.context, threads, threads)
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)
        self._step(list(range(100, 100 + prompt)))
        times = []
        for token in range(new - 1):
            start = time.perf_counter()
            self._step([token])
            logits = np.ctypeslib.as_array(llama_cpp.llama_get_logits(self.context), (VOCABULARY,))
            int(logits.argmax())
            times.append(time.perf_counter() - start)
        return times

    def _step(self, tokens: list[int]) -> None:
        array = (llama_cpp.llama_token * len(tokens))(*tokens)
        if llama_cpp.llama_decode(self.context, llama_cpp.llama_batch_get_one(array, len(tokens))):
            raise SystemExit("llama.cpp: a step failed")
