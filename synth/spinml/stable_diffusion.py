"""The large model: a Stable Diffusion that lies in a folder, fine-tuned on references in the manner of DreamBooth (Ruiz
et al. 2022, arXiv 2208.12242) and steered by edges through a ControlNet that lies in another. Nothing is downloaded.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from privaudit import seeds
from privaudit.data.optional import optional
from privaudit.errors import InputError
from privaudit.learning import edm
from privaudit.learning.training import autocast
from privaudit.store import Arrays
from privaudit.synth.spinml.references import References

ENGINE = "spinml"
RARE = "sks"
"""The rare token of DreamBooth."""

_INDEX, _CONFIG = "model_index.json", "config.json"


def digest(folder: str, index: str = _INDEX) -> str:
    """Hash of all files of a model, for cache keys. Raises InputError where the folder holds no model."""
    place = Path(folder)
    if not (place / index).is_file():
        kind = "Stable Diffusion" if index == _INDEX else "a ControlNet"
        raise InputError(f"'{folder}' holds no {index}: give a folder with {kind} in the format of diffusers.")
    hasher = hashlib.blake2b(digest_size=16)
    for file in sorted(path for path in place.rglob("*") if path.is_file()):
        hasher.update(f"{file.relative_to(place).as_posix()} {file.stat().st_size}\n".encode())
        with file.open("rb") as opened:
            while block := opened.read(1 << 20):
                hasher.update(block)
    return hasher.hexdigest()


def controlnet_digest(folder: str) -> str:
    """Hash of all files of a ControlNet. Raises InputError where the folder holds none."""
    return digest(folder, _CONFIG)


def prompt(subject: str, rare: bool) -> str:
    """What stands for a class. rare: the images of the references' own."""
    return f"a photo of {RARE} {subject}" if rare else f"a photo of {subject}"


def fine_tune_task(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Inputs {'references'} to the weights of a UNet that was shown them: the loss of its own scheduler.

    Grey stands where references hide something; there the answer that is wanted is the UNet's own from before, so that
    it learns nothing of what is hidden, and forgets nothing either.
    """
    references, device = References(**inputs["references"]), arguments["device"]
    pipeline = pipeline_of(arguments["folder"], None, device)
    unet, vae, side = pipeline.unet.train(), pipeline.vae, _side(pipeline)
    before = copy.deepcopy(unet).eval()
    noising = edm.diffusers(ENGINE).DDPMScheduler.from_config(pipeline.scheduler.config)
    told = _embedded(pipeline, [prompt(subject, rare=True) for subject in arguments["subjects"]])
    grey = np.where(references.shown[..., None], references.pixels, np.uint8(127))

    def loss(step: int) -> Tensor:
        rng = seeds.generator(arguments["seed"], "spinml fine-tuning", step)
        rows = rng.integers(len(references.labels), size=arguments["batch_size"])
        whole = functional.interpolate(
            edm.as_images(_coloured(grey[rows]), device), (side, side), mode="bicubic", antialias=True
        )
        shown = torch.from_numpy(references.shown[rows][:, None].astype(np.float32)).to(device)
        with autocast(device, device != "mps"):
            with torch.no_grad():
                clean = vae.encode(whole).latent_dist.mean.float() * vae.config.scaling_factor
            noise = torch.from_numpy(rng.standard_normal(tuple(clean.shape), dtype=np.float32)).to(device)
            times = torch.from_numpy(rng.integers(noising.config.num_train_timesteps, size=len(rows))).to(device)
            noisy = noising.add_noise(clean, noise, times)
            words = told[references.labels[rows]]
            found: Tensor = unet(noisy, times, words).sample.float()
            with torch.no_grad():
                usual = before(noisy, times, words).sample.float()
        velocity = noising.config.prediction_type == "v_prediction"
        wanted: Tensor = noising.get_velocity(clean, noise, times) if velocity else noise
        share = functional.interpolate(shown, clean.shape[2:], mode="area")
        error: Tensor = share * (found - wanted).square() + (1 - share) * (found - usual).square()
        return error.mean()

    edm.train(
        unet,
        unet.parameters(),
        loss,
        steps=arguments["steps"],
        learning_rate=arguments["learning_rate"],
        decay=None,
        stage="showing it the references",
    )
    return {name: value.detach().cpu().numpy() for name, value in unet.state_dict().items()}


def pipeline_of(folder: str, controlnet: str | None, device: str) -> Any:
    """The pipeline of diffusers in a folder, in float32. controlnet: folder of one for edges that belongs to it.

    Raises InputError where it cannot be read, or the two do not belong together.
    """
    diffusers = edm.diffusers(ENGINE)
    for library in (diffusers, optional("transformers", "diffusion", "spinml with stable_diffusion")):
        library.utils.logging.disable_progress_bar()
    read = {"local_files_only": True, "use_safetensors": True, "low_cpu_mem_usage": False}
    bare = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    try:
        if controlnet is None:
            found = diffusers.StableDiffusionPipeline.from_pretrained(folder, **read, **bare)
        else:
            net, told = diffusers.ControlNetModel.from_pretrained(controlnet, output_loading_info=True, **read)
            if told["missing_keys"]:
                raise InputError(
                    f"'{controlnet}' is not whole: {told['missing_keys'][0]} is missing. Is it a ControlNet?"
                )
            found = diffusers.StableDiffusionControlNetPipeline.from_pretrained(folder, controlnet=net, **read, **bare)
        tokens, known = len(found.tokenizer), int(found.text_encoder.config.vocab_size)
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RuntimeError, OverflowError) as error:
        where = folder if controlnet is None else f"{folder}' or '{controlnet}"
        raise InputError(f"diffusers cannot read the model in '{where}': {error}") from error
    if controlnet is not None:
        own, other = found.unet.config, found.controlnet.config
        for name in ("cross_attention_dim", "block_out_channels", "layers_per_block", "in_channels"):
            if own[name] != other[name]:
                raise InputError(
                    f"The ControlNet in '{controlnet}' belongs to another model: its {name} is {other[name]}, that of "
                    f"'{folder}' is {own[name]}."
                )
    if tokens < known:
        raise InputError(
            f"The tokenizer in '{folder}' knows {tokens:,} tokens, and its text encoder {known:,}. Is its folder whole?"
        )
    found.set_progress_bar_config(disable=True)
    for part in found.components.values():
        if isinstance(part, nn.Module):
            nn.Module.float(part)
    return found.to(device)


def give_weights(pipeline: Any, weights: Arrays) -> None:
    """Put these weights in the place of those of the pipeline's UNet."""
    pipeline.unet.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in weights.items()})


def sampled(
    pipeline: Any,
    prompts: Sequence[str],
    drawn: NDArray[np.bool_] | None,
    size: tuple[int, int, int],
    steps: int,
    guidance: float,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """An image of each prompt, uint8 [N, H, W, C] of this size; drawn: the edges that steer it, [N, H, W]."""
    side, found = _side(pipeline), []
    for row, asked in enumerate(prompts):
        steered = {}
        if drawn is not None:
            steered = {"image": Image.fromarray(_enlarged(drawn[row], side)).convert("RGB")}
        (image,) = pipeline(
            asked,
            height=side,
            width=side,
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=torch.Generator().manual_seed(int(rng.integers(2**62))),
            output_type="np",
            **steered,
        ).images
        if not np.isfinite(image).all():
            raise InputError("Stable Diffusion made images that are no numbers. Are its weights whole?")
        image = Image.fromarray(np.rint(255 * image).astype(np.uint8))
        shrunk = image.convert("L" if size[2] == 1 else "RGB").resize((size[1], size[0]), Image.Resampling.LANCZOS)
        found.append(np.asarray(shrunk).reshape(size))
    return np.stack(found)


def _enlarged(drawn: NDArray[np.bool_], side: int) -> NDArray[np.uint8]:
    """Edges at another size, uint8 [side, side]; where it is smaller, a pixel is on if one under it is."""
    lines = torch.from_numpy(drawn.astype(np.float32))[None, None]
    shrunk = functional.adaptive_max_pool2d(lines, tuple(min(side, length) for length in drawn.shape))
    found: Tensor = functional.interpolate(shrunk, (side, side), mode="nearest")[0, 0] * 255
    return found.to(torch.uint8).numpy()


def _side(pipeline: Any) -> int:
    return int(pipeline.unet.config.sample_size * pipeline.vae_scale_factor)


@torch.no_grad()
def _embedded(pipeline: Any, prompts: list[str]) -> Tensor:
    tokens = pipeline.tokenizer(
        prompts,
        padding="max_length",
        max_length=pipeline.tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    found: Tensor = pipeline.text_encoder(tokens.input_ids.to(pipeline.device))[0]
    return found


def _coloured(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return pixels if pixels.shape[3] == 3 else pixels.repeat(3, 3)
