"""A Stable Diffusion and a ControlNet of a few thousand random weights, in the folders of diffusers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers as untyped
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

diffusers: Any = untyped


def tokenizer(folder: Path) -> Any:
    """It knows letters, and the words of the prompts by their letters."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer.from_pretrained(str(folder), model_max_length=24)


def write(folder: Path, prediction: str = "epsilon") -> tuple[Path, Path]:
    """Both folders: of the pipeline, and of the ControlNet that belongs to it. Images are 16 x 16."""
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=8,
        norm_num_groups=4,
    )
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=16,
    )
    own = tokenizer(folder / "words")
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(own),
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=24,
            projection_dim=16,
            bos_token_id=own.bos_token_id,
            eos_token_id=own.eos_token_id,
            pad_token_id=own.pad_token_id,
        )
    )
    pipeline = diffusers.StableDiffusionPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=own,
        unet=unet,
        scheduler=diffusers.DDIMScheduler(prediction_type=prediction, steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder / "model", safe_serialization=True)
    control = diffusers.ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 8))
    for parameter in control.parameters():  # as if it had learned: what joins it to the UNet begins as zero
        torch.nn.init.normal_(parameter, std=0.1)
    control.save_pretrained(folder / "control", safe_serialization=True)
    return folder / "model", folder / "control"
