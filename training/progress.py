"""Progress of RGB training: a bar with loss and PSNR, and curves when TensorBoard is installed."""

from pathlib import Path

from tqdm import tqdm

LOOK_INTERVAL = 10  # iterations between reads of the loss: each synchronises with the device
SMOOTHING = 0.9  # decay of the running means of loss and PSNR
CURVE_INTERVAL = 100  # iterations between points of the curves


class TrainingProgress:
    """Progress bar and curves of one training run."""

    def __init__(self, iterations: int, start: int, curves: Path):
        self._bar = tqdm(total=iterations, initial=start, unit="it", desc="train", dynamic_ncols=True)
        self._writer = _tensorboard(curves, start)
        self._smooth: dict[str, float] = {}

    def update(self, iteration: int, loss: float, psnr: float, num_gaussians: int) -> None:
        """Show the state after `iteration`; PSNR in dB, of the current training view."""
        for name, value in (("loss", loss), ("psnr", psnr)):
            self._smooth[name] = SMOOTHING * self._smooth.get(name, value) + (1 - SMOOTHING) * value
        self._bar.set_postfix_str(
            f"loss {self._smooth['loss']:.4f}, PSNR {self._smooth['psnr']:.2f} dB, {num_gaussians:,} Gaussians", refresh=False
        )
        self._bar.update(iteration - self._bar.n)
        if self._writer is not None and iteration % CURVE_INTERVAL == 0:
            self._writer.add_scalar("train/loss", self._smooth["loss"], iteration)
            self._writer.add_scalar("train/psnr", self._smooth["psnr"], iteration)
            self._writer.add_scalar("gaussians", num_gaussians, iteration)
            rate = self._bar.format_dict["rate"]
            if rate:
                self._writer.add_scalar("iterations_per_second", rate, iteration)

    def held_out(self, iteration: int, psnr: float, ssim: float) -> None:
        """Record the mean quality of the held-out views."""
        self._bar.write(f"iteration {iteration}: held-out PSNR {psnr:.2f} dB, SSIM {ssim:.4f}")
        if self._writer is not None:
            self._writer.add_scalar("test/psnr", psnr, iteration)
            self._writer.add_scalar("test/ssim", ssim, iteration)

    def close(self) -> None:
        """Close the bar and flush the curves."""
        self._bar.close()
        if self._writer is not None:
            self._writer.close()


def _tensorboard(folder: Path, start: int):  # noqa: ANN202 - the type exists only where TensorBoard is installed
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=start)  # hides points after `start` that an interrupted run wrote
