"""How is a forecast told? One table of lines, estimates named as such."""

from svilm_jax.training.ahead_of_time import Forecast

_GIB = 2**30


def format_forecast(told: Forecast) -> str:
    """Lines of name and figure, of one chip unless a line says otherwise."""
    mesh = ", ".join(f"{axis} {size}" for axis, size in told.mesh.items()) or "one device"
    traffic = {kind: f"{sent / 2**20:,.0f} MiB" for kind, sent in told.collective_bytes.items()}
    room = told.hbm_bytes - told.peak_hbm_bytes
    left = "left" if room >= 0 else "too much"
    rows = [
        ("topology", f"{told.topology}, {told.chips} chips ({told.device_kind}), mesh {mesh}"),
        ("model", f"{told.parameters:,} parameters, batch {told.batch_size} on all chips"),
        ("parameters", _gib(told.parameter_bytes)),
        ("optimiser state", _gib(told.optimizer_bytes)),
        ("batch", _gib(told.batch_bytes)),
        ("activations", f"{_gib(told.activation_bytes)} and other temporary memory"),
        ("peak HBM", f"{_gib(told.peak_hbm_bytes)} of {_gib(told.hbm_bytes)}, {_gib(abs(room))} {left}"),
        ("FLOPs a step", f"{told.flops_per_chip:.3g}, of which the model needs {told.model_flops / told.chips:.3g}"),
        ("sent a step", ", ".join(f"{kind} {sent}" for kind, sent in traffic.items()) or "nothing"),
        ("ESTIMATE compute", f"{told.compute_seconds * 1e3:.1f} ms at the published peak"),
        ("ESTIMATE memory", f"{told.memory_seconds * 1e3:.1f} ms for parameters and optimiser state alone"),
        ("ESTIMATE network", f"{told.network_seconds * 1e3:.1f} ms"),
        ("ESTIMATE step", f"{told.estimated_step_seconds * 1e3:.1f} ms at least, MFU {told.estimated_mfu:.0%} at most"),
    ]
    return "\n".join(f"{name:<18} {figure}" for name, figure in rows)


def _gib(size: float) -> str:
    return f"{size / _GIB:.2f} GiB"
