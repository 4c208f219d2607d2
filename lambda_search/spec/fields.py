"""The fields of a study file, each in words: what a drafted file says above it.

One table; a test holds it against the models of `spec.models`, so that no field lacks its words.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FIELDS", "Field"]


@dataclass(frozen=True)
class Field:
    """A field, or a section of them.

    Arguments:
        what: what it is, in a sentence.
        other: what else could stand there, in a sentence; "" where the value is free.
        example: YAML of a value, for a file that leaves the field open; "" for a section.
    """

    what: str
    other: str = ""
    example: str = ""


FIELDS: dict[str, Field] = {
    "name": Field(
        "The study's name; with several step counts there is a study NAME-STEPS for each.",
        "Small letters, digits, dots, hyphens.",
        "my-study",
    ),
    "model": Field("Which pretrained model."),
    "model.framework": Field(
        "How the checkpoint is read.",
        "The command `models inspect` says what a file is.",
        "diffusers",
    ),
    "model.checkpoint": Field(
        "The weights: file, folder, address, hub name or bundled:NAME; paths start at this file.",
        example="path/to/checkpoint",
    ),
    "model.config": Field(
        "The framework's own options, or a JSON or YAML file with them.",
        example="config.yaml",
    ),
    "model.dataset": Field("What it was trained on, for people.", example="my-data"),
    "model.name": Field(
        "Its name in the lookup table, for the command `best`.",
        example="my-model",
    ),
    "model.source": Field("Where the weights are published, shown where they are missing."),
    "model.source.url": Field(
        "Of the file, or of the page that leads to it.", example="https://example.org/model.pt"
    ),
    "model.source.licence": Field("Of the weights, as their authors state it.", example="MIT"),
    "model.source.note": Field("What else has to be known or fetched.", example="model.pt of it"),
    "sampler": Field("How images are sampled: all that is held fixed while λ is searched."),
    "sampler.name": Field("The sampler.", example="ancestral"),
    "sampler.steps": Field(
        "Solver steps: λ suits one number of them.",
        "A list makes a study per number.",
        "[10, 20, 50]",
    ),
    "sampler.guidance": Field(
        "Scale of classifier-free guidance.", "1 is the conditional prediction alone.", "1.5"
    ),
    "sampler.site": Field(
        "Where λ acts: on all that follows from ε.",
        "Or x0_only, as in LDM-ES: on the estimate of x0 alone.",
        "full",
    ),
    "sampler.eta": Field(
        "η of ddim.", "0 is deterministic, 1 as noisy as ancestral sampling.", "0.0"
    ),
    "sampler.grid": Field(
        "The step grid, in the framework's own word.",
        "Of adm and dit: `ddim20`, `4,3,5`; ddim and ldm: uniform, quad; diffusers: linspace, "
        "leading, trailing.",
        "uniform",
    ),
    "sampler.clip": Field("Whether x0 is clipped to [−1, 1] at each step.", example="true"),
    "sampler.variance": Field(
        "Variance of ancestral sampling.", "One of small, large, and learned where it is.", "small"
    ),
    "sampler.precision": Field(
        "Arithmetic of the network.", "Or tf32, bf16, fp16: faster on a GPU.", "fp32"
    ),
    "sampler.kernels": Field(
        "compiled: torch.compile makes the network's kernels.",
        "Faster on a GPU after a minute; needs a C compiler.",
        "compiled",
    ),
    "sampler.batch": Field(
        "Images in a batch, the unit of work.",
        "Fewer where memory is short, more on a large GPU.",
        "64",
    ),
    "sampler.s_churn": Field("S_churn of heun and euler: noise that is added.", example="0.0"),
    "sampler.s_min": Field("Noise level from which on it is added.", example="0.05"),
    "sampler.s_max": Field("Noise level up to which it is added.", example="50.0"),
    "sampler.s_noise": Field("Standard deviation of the added noise.", example="1.003"),
    "sampler.classifier_scale": Field(
        "Weight of a noisy classifier's gradient; the config names the classifier.", example="0.5"
    ),
    "sampler.class": Field(
        "Of the sampler `scheduler`: its class in diffusers.",
        example="DPMSolverMultistepScheduler",
    ),
    "sampler.config": Field(
        "Of that scheduler, in diffusers' own words; the model's own holds for the rest.",
        example="{use_karras_sigmas: true}",
    ),
    "search": Field("Where and how λ(i) = b + k·i is looked for; i = 0 is the least noisy step."),
    "search.mean": Field(
        "Range of the mean λ̄ = b + k(T′ − 1)/2 over T′ steps.", "Below 1 is legal.", "[0.99, 1.05]"
    ),
    "search.slope": Field(
        "Range of the slope k.", "0 searches the mean alone.", "[-0.004, 0.002]"
    ),
    "search.family": Field(
        "Which λ: linear, b + k·i.",
        "Or constant, k = 0, for programs that take one number; or both: what is k worth?",
        "linear",
    ),
    "search.trials": Field(
        "Schedules to try, λ = 1 among them.", "With rungs 12 is quick, 40 is thorough.", "100"
    ),
    "search.parallel": Field(
        "Schedules that are proposed together.", "More where workers are many; 4 with rungs.", "3"
    ),
    "search.proposals": Field(
        "Who proposes: kg, rounds that end when nothing better is left.",
        "Or, with rungs, gp (a Gaussian process), tpe, cmaes, random, qmc (Sobol), grid.",
        "kg",
    ),
    "search.seed": Field(
        "Of all noise and proposals: equal seeds, equal results.", "Or any other.", "0"
    ),
    "search.warm_start": Field(
        "Begin at what is best for a relative: this model at other steps, or a published one.",
        example="true",
    ),
    "search.tolerance": Field(
        "Of kg alone: the share of the FID that is not worth more images.", example="1%"
    ),
    "search.budget": Field("Of kg alone: what its rounds may cost."),
    "search.budget.images": Field("Images of all rounds.", example="10000"),
    "search.score": Field(
        "Of kg alone: what ranks in its rounds; projected: what few images tell of the FID.",
        "Or fid. Rows are of the FID in any case.",
        "projected",
    ),
    "search.components": Field(
        "Of kg alone: the reference's leading components whose covariances rank.", example="32"
    ),
    "metric": Field("What is minimised: a distance between sampled and real images."),
    "metric.extractor": Field(
        "What turns images into features.",
        "One of inception-clean, inception-legacy, clip-vit-b32, dinov2, bundled, NAME:PATH, or a "
        "file of your own; where none means anything, model: the model's own network.",
        "inception-clean",
    ),
    "metric.reference": Field(
        "The real images, as many as you can: at least as many as features are wide.",
        "One of images:FOLDER (or a .zip), statistics in an .npz, clean-fid:cifar10/train/32; "
        "without any, self:250: agreement with the model's own samples of 250 steps.",
        '"images:path/to/folder"',
    ),
    "metric.name": Field("The distance.", example="fid"),
    "metric.also": Field(
        "Further distances of the confirmation's images; they rank nothing.",
        example='[{extractor: dinov2, reference: "images:path/to/folder"}]',
    ),
    "metric.rungs": Field(
        "Images at which trials are compared, the better half going on.",
        "Fewer are quicker and rank worse.",
        "[500, 1000, 2000]",
    ),
    "confirm": Field("The proof, on images that the search has not seen."),
    "confirm.top": Field("Schedules that are proven, beside λ = 1.", "1 is cheapest.", "3"),
    "confirm.samples": Field("Images for each of them.", "Published tables have 50,000.", "10000"),
    "confirm.precision": Field(
        "How exactly the gain is to be known, as a share of the FID at λ = 1: the proof then ends "
        "as soon as it is, and samples is the most.",
        "Open: all samples in one look.",
        "1%",
    ),
    "queue": Field("When drivers take it, among others that wait."),
    "queue.priority": Field(
        "The highest first.",
        "Of all that say nothing: 0; no more for one that is posted to a service.",
        "0",
    ),
    "queue.user": Field(
        "On whose behalf: users of whom few studies are driven come first.",
        "All that are posted to a service count as one user's.",
        example="anna",
    ),
}
"""By their places in a study file, in the order in which a drafted one has them."""
