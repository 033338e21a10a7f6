"""`ernie export --precision int8`: quantized, scored beside fp32, and written only where the score holds."""

import importlib.metadata
import os
import shutil
from typing import NamedTuple

import numpy as np

from ernie.checkpoint.model_folder import to_json
from ernie.inference import export as exports
from ernie.inference.engines import ENGINES, ONNX_FILE, OPENVINO, OPENVINO_FILE, knows_bf16, open_engine
from ernie.inference.int8 import quantize
from ernie.inference.int8.data import read_data
from ernie.inference.int8.scores import BATCH_SIZE, TaskScores, rates
from ernie.inference.processor import processor_flags
from ernie.inference.saved_precision import INT8, REPORT
from ernie.run.exported import INFERENCE
from ernie.run.machine import processor
from propeller.environment import usable_cores
from propeller.errors import UserError, bad_input
from propeller.graph import load_paddle
from propeller.log import get_logger
from propeller.optional import optional_package
from propeller.storage.folders import whole_folder, write_files

log = get_logger(__name__)

MAX_DROP = 0.5
INT8_ENGINES = ('openvino', 'onnxruntime')
SUFFIX = '_int8'
_FP32 = 'fp32'  # folder of the model that is quantized, while the export is made
_PACKAGES = {
    'openvino': ('paddle2onnx', 'openvino', 'nncf'),
    'onnxruntime': ('paddle2onnx', 'onnxruntime', 'onnx', 'ml_dtypes'),
}
_VERSIONS = ('paddlepaddle', 'paddle2onnx', 'openvino', 'nncf', 'onnxruntime', 'onnx')


class Quantized(NamedTuple):
    """files: dict name -> path of what the export gets. engine: has it open. method: how it was made. score: of it.
    products: (how many are in 8 bits, all).
    """

    files: dict
    engine: object
    method: str
    score: float
    products: tuple


def export_int8(
    folder, target, engine='openvino', calibration_set=None, dev_set=None, max_drop=MAX_DROP, overwrite=False
):
    """Write the inference model of a checkpoint in int8, with a report of what that cost and gained.

    Args:
        folder: `ModelFolder` or `VectorFolder` of a model that is not exported.
        target: the folder to make.
        engine: of `INT8_ENGINES`.
        calibration_set, dev_set: see `read_data`.
        max_drop: how many points the score may lose.
        overwrite: whether an exported model in its place is replaced.
    Returns:
        the report, dict.
    Raises:
        UserError: a package or file is missing; the score falls by more than `max_drop`. Nothing is written then.
    """
    exports.check_target(target, overwrite)
    load_paddle()  # else paddle2onnx does, and all that paddle has to say comes out
    for package in _PACKAGES[engine]:
        if package == 'nncf':
            quantize.load_nncf()
        else:
            optional_package(package, '--precision int8')
    data = read_data(folder, calibration_set, dev_set, calibrates=engine == 'openvino')
    try:
        with whole_folder(target, replace=overwrite) as work:
            plain = os.path.join(work, _FP32)
            os.mkdir(plain)
            description = exports.checked_model(folder, plain, [engine])
            report = _made(folder, data, engine, max_drop, plain, work)
            shutil.rmtree(plain)
            form = OPENVINO if engine == 'openvino' else 'onnx'
            described = description | {'format': form, 'precision': INT8}
            write_files(work, {**folder.files(), INFERENCE: to_json(described), REPORT: to_json(report)})
    except FileExistsError as e:
        raise bad_input(target, 'a folder that appeared meanwhile', 'a new one') from e
    except OSError as e:
        raise UserError(f'{target}: cannot be written ({e.strerror or e}).') from e
    return report


def _made(folder, data, engine, max_drop, plain, work):
    """The report, with the files of the model in `work`. plain: folder of the model in fp32."""
    threads = usable_cores()
    _doubt_few_rows(data.scores, max_drop)
    engines = {'fp32': open_engine(engine, plain, 'fp32', threads)}
    scores = {'fp32': data.scores.of(engines['fp32'])}
    if 'bf16' in ENGINES[engine].precisions and knows_bf16():
        engines['bf16'] = open_engine(engine, plain, 'bf16', threads)
        scores['bf16'] = data.scores.of(engines['bf16'])
    make = with_openvino if engine == 'openvino' else with_onnxruntime
    made = make(data, scores['fp32'], max_drop, plain, threads)
    engines[INT8], scores[INT8] = made.engine, made.score
    drop = scores['fp32'] - made.score
    if not drop <= max_drop:
        raise refused(folder.path, data.scores, scores, max_drop, made.method)
    quantize.check_quantized(made.products, folder.path)
    rows_per_second, timed = rates(engines, data.scores)
    sizes = {'fp32': quantize.size_of(os.path.join(plain, ONNX_FILE)), INT8: quantize.size_of(*made.files.values())}
    for name, path in made.files.items():
        os.replace(path, os.path.join(work, name))
    return {
        'engine': engine,
        'method': made.method,
        'products_in_int8': list(made.products),
        'calibration': _calibration(data),
        'scored': {'file': data.scores.name, 'rows': len(data.scores.rows), 'measure': data.scores.measure},
        'score': {name: round(scores[name], 4) if name in scores else None for name in ('fp32', 'bf16', INT8)},
        'drop': round(drop, 4),
        'max_drop': max_drop,
        'rows_per_second': {
            name: round(rows_per_second[name], 1) if name in rows_per_second else None
            for name in ('fp32', 'bf16', INT8)
        },
        'timed': {'rows': timed, 'batch_size': BATCH_SIZE, 'threads': threads},
        'without_bf16': _why_no_bf16(engine, scores),
        'megabytes': sizes,
        'processor': {'name': processor()[0], 'flags': processor_flags()},
        'versions': _versions(),
    }


def _doubt_few_rows(scores, max_drop):
    """A score of few rows moves in steps that are larger than the loss that it is to show."""
    count = len(scores.rows)
    if isinstance(scores, TaskScores) and 0 < max_drop < 100 / count:
        log.warning('%s: one of %d rows is %.1f points, more than --max_drop %g: int8 may lose more on other texts. '
                    'Score it on more rows (--dev_set).', scores.name, count, 100 / count, max_drop)  # fmt: skip


def with_openvino(data, fp32, max_drop, plain, threads):
    quantizer = quantize.OpenVinoQuantizer(os.path.join(plain, ONNX_FILE), data.calibration, threads)
    log.info('int8: quantizing with %d rows of %s', len(data.calibration), data.source)
    model, method = quantizer.quantize(), 'nncf.quantize'
    score = data.scores.of(quantizer.opened(model))
    if not fp32 - score <= max_drop:
        log.info(
            'int8: %s %.2f, fp32 %.2f, more than %g points less; quantizing anew with accuracy control, which takes '
            'many times as long',
            *(data.scores.measure, score, fp32, max_drop),
        )
        first = model, method, score
        model, method = quantizer.quantize_with_control(data.scores, max_drop), 'nncf.quantize_with_accuracy_control'
        score = data.scores.of(quantizer.opened(model))
        if score < first[2]:
            model, method, score = first
    files, engine, products = saved_openvino(model, plain, threads)
    return Quantized(files, engine, method, score, products)


def saved_openvino(model, place, threads):
    """(files, engine, products), as `Quantized` has them, of a model of OpenVINO that is written into a folder."""
    import openvino

    openvino.save_model(model, os.path.join(place, OPENVINO_FILE), compress_to_fp16=False)
    files = {name: os.path.join(place, name) for name in (OPENVINO_FILE, f'{os.path.splitext(OPENVINO_FILE)[0]}.bin')}
    return files, ENGINES['openvino'].open(place, INT8, threads, None), quantize.products_in_int8(model)


def with_onnxruntime(data, fp32, max_drop, plain, threads):
    place = os.path.join(plain, INT8)
    os.mkdir(place)
    path = os.path.join(place, ONNX_FILE)
    quantize.quantize_dynamic(os.path.join(plain, ONNX_FILE), path)
    engine = ENGINES['onnxruntime'].open(place, INT8, threads, None)
    method = 'onnxruntime.quantization.quantize_dynamic'
    return Quantized({ONNX_FILE: path}, engine, method, data.scores.of(engine), quantize.dynamic_products(path))


def refused(path, scores, values, max_drop, method):
    """The `UserError` for a model whose score falls too far. values: dict precision -> score."""
    lost = values['fp32'] - values[INT8]
    what = f'{scores.measure} {values[INT8]:.2f} in int8 and {values["fp32"]:.2f} in fp32 ({lost:.2f} points less)'
    advice = 'Serve it with --precision bf16 or fp32, or allow more with --max_drop.'
    return bad_input(path, f'{what} on {scores.name}', f'at most {max_drop:g} points less (--max_drop)', advice=advice)


def _calibration(data):
    if not data.calibration:
        return None
    lengths = {'shortest': min(data.lengths), 'mean': round(float(np.mean(data.lengths)), 1)}
    return {'file': data.source, 'rows': len(data.calibration), 'tokens': lengths | {'longest': max(data.lengths)}}


def _why_no_bf16(engine, scores):
    if 'bf16' in scores:
        return None
    return 'this processor has none' if 'bf16' in ENGINES[engine].precisions else f'{engine} has none'


def _versions():
    found = {}
    for name in _VERSIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def report_lines(report):
    """A report as lines of text."""
    score, rate = report['score'], report['rows_per_second']
    scored, calibration, (quantized, of) = report['scored'], report['calibration'], report['products_in_int8']
    rows = f'{calibration["rows"]} rows of {calibration["file"]}' if calibration else 'no rows, its inputs as they come'
    flags = ', '.join(report['processor']['flags'] or ()) or 'flags unknown'
    names = [name for name in ('fp32', 'bf16', INT8) if score[name] is not None]
    without = f' (bf16: {report["without_bf16"]})' if report['without_bf16'] else ''
    timed, size = report['timed'], report['megabytes']
    return [
        f'int8 with {report["engine"]}: {quantized} of {of} products, calibrated with {rows} ({report["method"]})',
        f'{scored["measure"]} on {scored["rows"]:,} rows of {scored["file"]}: '
        + ', '.join(f'{name} {score[name]:.2f}' for name in names)
        + f'; {report["drop"]:+.2f} points lost of {report["max_drop"]:g}{without}',
        'rows a second: '
        + ', '.join(f'{name} {rate[name]:,.0f}' for name in names)
        + f'; int8 is {rate[INT8] / rate["fp32"]:.2f} times fp32; {timed["rows"]} rows, {timed["threads"]} threads',
        f'measured on {report["processor"]["name"]} ({flags}); {size["fp32"]:g} MB in fp32, {size[INT8]:g} MB in int8',
    ]
