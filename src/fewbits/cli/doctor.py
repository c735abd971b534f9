"""`fewbits doctor`: what this machine has, and how fast a model would be on it."""

from typing import Annotated

import typer

from fewbits.cli.options import json_option, misfit_option, set_threads, threads_option, trust_option


def command(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="Hub id, folder, timm/NAME or demo.")] = None,
    scheme: Annotated[
        list[str] | None, typer.Option("--scheme", metavar="SCHEME", help="Repeatable; rtn:int8 and hqq:uint4g64 by default.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Load the model and measure what was predicted.")] = False,
    repeats: Annotated[int, typer.Option(min=1, metavar="N", help="Runs of each timing.")] = 7,
    on_misfit: misfit_option = "error",
    threads: threads_option = None,
    trust_remote_code: trust_option = False,
    json: json_option = False,
) -> None:
    """Tell what this machine has, what each layer of a model takes on it, and how fast the model would be in each scheme.

    No weights are read (and none downloaded) unless --check is given.

    \b
    fewbits doctor
    fewbits doctor demo --check
    fewbits doctor meta-llama/Llama-3.2-1B --scheme int8 --scheme uint4g64 --scheme nf4g64
    """
    from fewbits.cli import show_gpu, show_machine
    from fewbits.doctor.examine import SCHEMES, Settings, examine
    from fewbits.doctor.gpu_limits import measure_gpu
    from fewbits.doctor.limits import measure_limits
    from fewbits.errors import FewbitsError
    from fewbits.plan import misfit_named

    if check and model is None:
        raise FewbitsError("--check measures a model: name one, such as demo")
    set_threads(threads)
    settings = Settings(
        schemes=tuple(scheme or SCHEMES),
        check=check,
        repeats=repeats,
        on_misfit=misfit_named(on_misfit),
        trust_remote_code=trust_remote_code,
    )
    bounds, gpu = measure_limits(), measure_gpu()
    show_machine.limits(bounds)
    if gpu is not None:
        show_gpu.limits(gpu)
    found = None
    if model is not None:
        found = examine(model, bounds, settings)
        show_machine.examined(found, bounds)
    if json:
        show_machine.machine_document(bounds, found)
