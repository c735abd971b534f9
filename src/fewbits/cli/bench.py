"""`fewbits bench`: kernels and decoding beside the machine's limit."""

from typing import Annotated

import typer

from fewbits.cli.options import json_option, set_threads, threads_option


def command(
    model: Annotated[str, typer.Option("--model", metavar="MODEL", help="What writes; a causal language model.")] = "demo",
    scheme: Annotated[
        list[str] | None, typer.Option("--scheme", metavar="SCHEME", help="Repeatable; 8 to 2 bits and nf4 by default.")
    ] = None,
    shape: Annotated[list[str] | None, typer.Option("--shape", metavar="OUTxIN", help="Of a linear layer; repeatable.")] = None,
    batch: Annotated[list[int] | None, typer.Option("--batch", min=1, metavar="N", help="Rows; repeatable.")] = None,
    repeats: Annotated[int, typer.Option(min=1, metavar="N", help="Runs of each model.")] = 5,
    threads: threads_option = None,
    json: json_option = False,
) -> None:
    """Time linear layers and writing in each scheme; the limit, the bandwidth of memory, is measured first.

    \b
    fewbits bench --model demo
    fewbits bench --shape 2048x8192 --batch 1 --scheme uint4g64 --threads 1
    """
    from fewbits.cli import show_gpu, show_machine
    from fewbits.doctor.bench import BATCHES, SCHEMES, SHAPES, parse_shape, time_decoding, time_kernels
    from fewbits.doctor.gpu_bench import time_products
    from fewbits.doctor.gpu_limits import measure_gpu
    from fewbits.doctor.gpu_writing import time_writing
    from fewbits.doctor.limits import measure_limits

    set_threads(threads)
    sizes = [parse_shape(size, max(batch or BATCHES)) for size in shape or SHAPES]
    bounds, gpu = measure_limits(), measure_gpu()
    show_machine.limits(bounds)
    schemes, written = scheme or list(SCHEMES), []
    if gpu is not None:
        show_gpu.limits(gpu)
        show_gpu.products([t for size in sizes for t in time_products(*size, schemes, batch or BATCHES)], gpu)
        written = time_writing(model, schemes, repeats)
        show_gpu.writing(written, gpu)
    times = time_kernels(shape or SHAPES, schemes, batch or BATCHES)
    show_machine.kernels(times, bounds)
    made = time_decoding(model, schemes, repeats)
    show_machine.decoding(made, bounds)
    if json:
        show_machine.machine_document(bounds, times=times, made=made, gpu=gpu, written=written)
