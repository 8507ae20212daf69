"""The table of methods: published CAMs, baselines, variants of libraries, controls; finding one."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType

from sycam.errors import ExpressionError, unknown_name
from sycam.evidence import MEASURED, ignores_target
from sycam.language import Expression, parse_weights
from sycam.language.operators import LEAVES
from sycam.language.parsing import FOREIGN_SIGNS
from sycam.methods import controls, fused, kernel_component, libraries
from sycam.methods.fullgrad import fullgrad
from sycam.methods.group import group_cam
from sycam.methods.method import BASELINE, BLURRED, CONTROL, OWN, PUBLISHED, VARIANT, Direct, Method
from sycam.methods.poly import poly_cam
from sycam.methods.zoo import PREFIX, formula

A, G = "activations", "gradients"
HABIT = "grad-cam"  # what everybody uses
ALWAYS = frozenset(leaf.name for leaf in MEASURED.values() if leaf.always)


def _published(name: str, text: str, paper: str, note: str = "") -> Method:
    return Method(name, PUBLISHED, parse_weights(text), paper=paper, note=note)


def _computed(
    name: str,
    kind: str,
    direct: Direct,
    reads: Collection[str],
    definition: str,
    latex: str,
    paper: str = "",
    note: str = "",
) -> Method:
    measures = frozenset(reads)
    runs = getattr(direct, "func", direct) is fullgrad
    return Method(
        name,
        kind,
        direct=direct,
        paper=paper,
        note=note,
        measures=measures,
        runs=runs,
        definition=definition,
        definition_latex=latex,
    )


def _poly_cam(
    name: str, variant: str, weights: str, latex: str, inside: bool, outside: bool
) -> Method:
    passes = "2 forward passes" if inside and outside else "a forward pass"
    return Method(
        name,
        BASELINE,
        joint=partial(poly_cam, inside=inside, outside=outside),
        paper="Englebert, Cornu and De Vleeschouwer, Poly-CAM: High resolution class activation "
        "map for convolutional neural networks, ICPR 2022",
        note=f"{variant}; {passes} per image, channel and layer, so shown only where it is named; "
        "reads all layers, the coarsest first; explains the probability of the class",
        measures=frozenset([A]),
        runs=True,
        unasked=False,
        definition="H_l = L_l / up(down(L_l)) * up(H_(l+1)), L = relu(sum_k w_k * A_k), "
        f"w = {weights}",
        definition_latex=r"H_l = \frac{L_l}{\operatorname{up}(\operatorname{down}(L_l))} \odot "
        r"\operatorname{up}(H_{l+1}),\ L_l = \mathrm{ReLU}\left(\sum_k w_{lk} \cdot A_{lk}\right)"
        rf",\ w_{{lk}} = {latex}",
    )


_TABLE = (
    _published(
        "cam",
        "C",
        "Zhou, Khosla, Lapedriza, Oliva and Torralba, Learning Deep Features for Discriminative "
        "Localization, CVPR 2016",
        "needs a linear head right after global average pooling of the target layer; the ReLU is "
        "ours, as for every other CAM",
    ),
    _published(
        "grad-cam",
        "mean(G)",
        "Selvaraju, Cogswell, Das, Vedantam, Parikh and Batra, Grad-CAM: Visual Explanations from "
        "Deep Networks via Gradient-based Localization, ICCV 2017",
    ),
    _published(
        "hirescam",
        "G",
        "Draelos and Carin, Use HiResCAM instead of Grad-CAM for Faithful Explanations of "
        "Convolutional Neural Networks, arXiv:2011.08891, 2020",
    ),
    _published(
        "grad-cam++",
        "sum(relu(G) / (2 + sum(A) * G))",
        "Chattopadhay, Sarkar, Howlader and Balasubramanian, Grad-CAM++: Generalized "
        "Gradient-based Visual Explanations for Deep Convolutional Networks, WACV 2018",
        "the paper's formula with G^2 cancelled; libraries differ: grad-cam++-lib, "
        "torchcam-grad-cam++, monai-grad-cam++",
    ),
    _published(
        "xgrad-cam",
        "sum(G * A) / sum(A)",
        "Fu, Hu, Dong, Guo, Gao and Li, Axiom-based Grad-CAM: Towards Accurate Visualization and "
        "Explanation of CNNs, BMVC 2020",
    ),
    _published(
        "layer-cam",
        "relu(G)",
        "Jiang, Zhang, Hou, Cheng and Wei, LayerCAM: Exploring Hierarchical Class Activation Maps "
        "for Localization, IEEE Transactions on Image Processing 30, 2021",
        "without the paper's scaling by tanh, which it uses to join several layers",
    ),
    _published(
        "grad-cam-elementwise",
        "channelsum(relu(G * A))",
        "pytorch-grad-cam 1.5 (GradCAMElementWise); no paper",
        "the ReLU is inside the sum over channels: not of the form sum_k w_k A_k; LayerCAM where "
        "no activation is negative",
    ),
    _published(
        "lafam",
        "channelsum(A)",
        "Karjauv and Albayrak, LaFAM: Unsupervised Feature Attribution with Label-free Activation "
        "Maps, arXiv:2407.06059, 2024",
        "ignores the class; the ReLU is ours, as for every other CAM",
    ),
    _published(
        "lift-cam",
        "C * mean(A)",
        "Jung and Oh, Towards Better Explanations of Class Activation Mapping, ICCV 2021",
        "DeepLIFT's contribution of each channel to the logit, reference 0, which is this where a "
        "linear head follows global average pooling of the target layer: it needs one",
    ),
    _published(
        "score-cam",
        "softmax(S)",
        "Wang, Wang, Du, Yang, Zhang, Ding, Mardziel and Hu, Score-CAM: Score-Weighted Visual "
        "Explanations for Convolutional Neural Networks, CVPR Workshops 2020",
        "the paper subtracts the score of a baseline image, which the softmax over channels "
        "cancels; the grad-cam package differs: score-cam-lib",
    ),
    _published(
        "ablation-cam",
        "D",
        "Desai and Ramaswamy, Ablation-CAM: Visual Explanations for Deep Convolutional Network "
        "via Gradient-free Localization, WACV 2020",
        "an ablated channel is 0, as in the paper; the grad-cam package differs: ablation-cam-lib",
    ),
    _published(
        "shapley-cam",
        "mean(G - 0.5 * H)",
        "Cai, CAMs as Shapley Value-based Explainers, arXiv:2501.06261, 2025",
        "where the target's score is piecewise linear in the activations (a ReLU network and a "
        "logit) H is 0 and this is Grad-CAM: choose the target probability or rest",
    ),
    _published(
        "mi-cam",
        "MI",
        "R. S. Iyer, N. S. Iyer and Rugmini Ammal P, MI CAM: Mutual Information Weighted "
        "Activation Mapping for Causal Visual Explanations of Convolutional Neural Networks, "
        "arXiv:2507.09092, 2025",
        "ignores the class; how values are binned (32 equal bins) is our choice",
    ),
    _published(
        "mi-grad-cam",
        "mean(G) * normalize(MI)",
        "MI-Grad-CAM: Letting Your Model Reveal What's Most Informative, submission to ICLR 2026, "
        "authors not named",
        "the mutual information is ours, as for mi-cam, and so is its norm: its sum over channels",
    ),
    _published(
        "fem",
        "mean(above(A, 2))",
        "Fuad, Martin, Giot, Bourqui, Benois-Pineau and Zemmari, Features Understanding in 3D "
        "CNNs for Actions Recognition in Video, IPTA 2020",
        "ignores the class; as the grad-cam package computes it, xplique differs: fem-xplique "
        "(which of the two follows the paper was not checked)",
    ),
    _published(
        "opti-cam",
        "O",
        "Zhang, Torres, Sicre, Avrithis and Ayache, Opti-CAM: Optimizing Saliency Maps for "
        "Interpretability, Computer Vision and Image Understanding 248, 2024",
        "50 steps, as in the released code (100 in the paper); fitted to what average-drop and "
        "its kin measure: the rival to name under them",
    ),
    _published(
        "recipro-cam",
        "R",
        "Byun and Lee, ReciproCAM: Lightweight Gradient-free Class Activation Map for Post-hoc "
        "Explanations, CVPR Workshops 2024",
        "of one place at a time, without the Gaussian that may spread it; explains the "
        "probability of the class, whatever else of the class is explained",
    ),
    _published(
        "eigen-cam",
        "principal(A)",
        "Muhammad and Yeasin, Eigen-CAM: Class Activation Map using Principal Components, "
        "IJCNN 2020",
        "ignores the class; centred over places as in the grad-cam package; the value of largest "
        "magnitude is positive, where the package leaves the sign to the decomposition",
    ),
    _published(
        "eigen-grad-cam",
        "principal(G * A)",
        "pytorch-grad-cam 1.5 (EigenGradCAM); no paper",
        "centred and signed as eigen-cam",
    ),
    _published(
        "seg-eigen-cam",
        "principal(abs(G) * A)",
        "Chung and Ying, Seg-Eigen-CAM, Applied Sciences 15(13), 2025",
        "centred and signed as eigen-cam, whose sign is this paper's (equation 13)",
    ),
    replace(
        _computed(
            "kpca-cam",
            BASELINE,
            kernel_component.kpca_cam,
            [A],
            "first kernel principal component over places of A, sigmoid kernel",
            r"\operatorname{KPC}_1(A),\ \kappa(a, b) = \tanh(\langle a, b \rangle / K + 1)",
            "Karmani, Sivakaran, Prasad, Ali, Yang and Tang, KPCA-CAM: Visual Explainability of "
            "Deep Computer Vision Models using Kernel PCA, arXiv:2410.00267, 2024",
            "ignores the class; kernel and its parameters are the grad-cam package's defaults; "
            "where not named, shown only at layers of at most 32 by 32 places: its kernel has a "
            "row and a column for each",
        ),
        most_places=32 * 32,
    ),
    replace(
        _computed(
            "refine-cam",
            BASELINE,
            fused.refine_cam,
            [A, G],
            "product over layers of Grad-CAM++'s heatmaps",
            r"\prod_l \operatorname{norm}_{01}\left(\operatorname{up}\left(\mathrm{ReLU}\left("
            r"\sum_k w_{lk} \cdot A_{lk}\right)\right)\right)",
            "Domeniconi, Stramiglio, Lombardi and Salti, How to Evaluate and Refine your CAM, "
            "arXiv:2605.14641, 2026",
            "reads all layers; shown beside a search where there are several",
        ),
        fusion="product",
    ),
    replace(
        _computed(
            "zoom-cam",
            BASELINE,
            fused.zoom_cam,
            [A, G],
            "largest over layers of the heatmaps of sum_k G * A",
            r"\max_l \operatorname{norm}_{01}\left(\operatorname{up}\left(\mathrm{ReLU}\left("
            r"\sum_k G_{lk} \cdot A_{lk}\right)\right)\right)",
            "Shi, Khademi, Li and van Gemert, Zoom-CAM: Generating Fine-grained Pixel Annotations "
            "from Image Labels, ICPR 2020",
            "reads all layers; shown beside a search where there are several",
        ),
        fusion="max",
    ),
    replace(
        _computed(
            "group-cam",
            BASELINE,
            group_cam,
            [A, G],
            "sum over 32 groups of channels of mask * gain in probability over the blurred image",
            r"\sum_l \left(p(x \odot M_l + \tilde{x} \odot (1 - M_l)) - p(\tilde{x})\right) "
            r"\cdot M_l",
            "Zhang, Rao and Yang, Group-CAM: Group Score-Weighted Visual Explanations for Deep "
            "Convolutional Networks, arXiv:2103.13859, 2021",
            "33 forward passes an image, so shown only where it is named; explains the probability "
            "of the class",
        ),
        runs=True,
        unasked=False,
    ),
    _poly_cam(
        "poly-cam",
        "PCAM±",
        "relu(p(x * M_k) + p(x) - p(x * (1 - M_k)))",
        r"\mathrm{ReLU}\left(p(x \odot M_{lk}) + p(x) - p(x \odot (1 - M_{lk}))\right)",
        inside=True,
        outside=True,
    ),
    _poly_cam(
        "poly-cam-plus",
        "PCAM+",
        "p(x * M_k)",
        r"p(x \odot M_{lk})",
        inside=True,
        outside=False,
    ),
    _poly_cam(
        "poly-cam-minus",
        "PCAM-",
        "relu(p(x) - p(x * (1 - M_k)))",
        r"\mathrm{ReLU}\left(p(x) - p(x \odot (1 - M_{lk}))\right)",
        inside=False,
        outside=True,
    ),
    _computed(
        "fullgrad",
        BASELINE,
        fullgrad,
        [],
        "psi(x * dy/dx) + sum over layers and channels of psi(b * dy/db), psi = up(norm01(|.|))",
        r"\psi\left(x \odot \nabla_x y\right) + \sum_{l,c} \psi\left(b_{lc}\, \nabla_{b_{lc}} "
        r"y\right),\ \psi(t) = \operatorname{up}(\operatorname{norm}_{01}(|t|))",
        "Srinivas and Fleuret, Full-Gradient Representation for Neural Network Visualization, "
        "NeurIPS 2019",
        "runs the whole network forward and backward; does not depend on the layer; the grad-cam "
        "package differs: fullgrad-lib",
    ),
    _computed(
        "grad-cam++-lib",
        VARIANT,
        libraries.grad_cam_plus_plus,
        [A, G],
        "sum(relu(G) * G^2 / (2 G^2 + sum(A) G^3 + 1e-6))",
        r"\mathrm{ReLU}\left(\sum_k \left(\sum_{ij} \frac{\mathrm{ReLU}(G_k) \cdot G_k^2}{2 G_k^2 "
        r"+ \sum_{ij} A_k \cdot G_k^3 + 10^{-6}}\right) \cdot A_k\right)",
        "pytorch-grad-cam 1.5 (GradCAMPlusPlus)",
        "the absolute 1e-6 is not scale-free",
    ),
    Method(
        "torchcam-grad-cam++",
        VARIANT,
        parse_weights("sum(relu(G) * square(G))"),
        paper="TorchCAM 0.5 (GradCAMpp)",
        note="its division is done on a copy and lost, so that only the numerator is left",
    ),
    Method(
        "monai-grad-cam++",
        VARIANT,
        parse_weights("sum(square(G) * relu(G) / (2 * square(G) + sum(A * cube(G))))"),
        paper="MONAI 1.3 (GradCAMpp)",
        note="the activations are inside the sum of the denominator, where the paper has sum(A); "
        "without its factor e^y, which scaling cancels, and the 1e-7 that it adds to the "
        "denominator",
    ),
    _computed(
        "score-cam-lib",
        VARIANT,
        libraries.score_cam,
        [A, "masked_scores_aligned"],
        "softmax(S), masks upsampled with aligned corners",
        r"\mathrm{ReLU}\left(\sum_k \operatorname{softmax}_k(S'_k) \cdot A_k\right)",
        "pytorch-grad-cam 1.5 (ScoreCAM)",
        "aligned corners, and 1e-8 beside the range of each mask",
    ),
    _computed(
        "ablation-cam-lib",
        VARIANT,
        libraries.ablation_cam,
        [A, "ablation_drops_lib"],
        "D, the ablated channel at the batch's minimum - 1e7 where that is not 0",
        r"\mathrm{ReLU}\left(\sum_k D'_k \cdot A_k\right)",
        "pytorch-grad-cam 1.5 (AblationCAM)",
        "differs where the smallest activation is not 0 and no ReLU follows; compounds in a batch",
    ),
    _computed(
        "fullgrad-lib",
        VARIANT,
        partial(fullgrad, beside=1e-7),
        [],
        "as fullgrad, with 1e-7 beside the range of each channel",
        r"\sum \operatorname{up}\left(\frac{|t| - \min |t|}{10^{-7} + \max |t| - \min |t|}\right)",
        "pytorch-grad-cam 1.5 (FullGrad)",
        "the absolute 1e-7 is not scale-free: channels with small terms count less",
    ),
    Method(
        "fem-xplique",
        VARIANT,
        parse_weights("channelsum(mean(A) * above(A, 2))"),
        paper="xplique (Fem)",
        note="sums the thresholded maps instead of the activations; xplique has >= where we have >",
    ),
    _computed(
        "random-weights",
        CONTROL,
        controls.random_weights,
        [A],
        "weights from uniform(-1, 1)",
        r"\mathrm{ReLU}\left(\sum_k u_k \cdot A_k\right),\ u_k \sim U(-1, 1)",
        note="seeded by the image's content",
    ),
    _computed(
        "sobel-edges",
        CONTROL,
        controls.sobel_edges,
        [],
        "magnitude of the grey image's Sobel gradient",
        r"\|\operatorname{Sobel}(x)\|_2",
        note="ignores the network",
    ),
    _computed(
        "centre-prior",
        CONTROL,
        controls.centre_prior,
        [],
        "Gaussian at the centre, sigma a quarter of each side",
        r"e^{-(u^2 + v^2) / 2},\ u, v \in [-2, 2]",
        note="ignores network and image",
    ),
)

METHODS: Mapping[str, Method] = MappingProxyType({m.name: m for m in _TABLE})


def shown_methods(
    measured: Collection[str] = ALWAYS, sites: Collection[str] = (), blurred: bool = False
) -> list[Method]:
    """The published CAMs, baselines and controls that a search or validation shows.

    Args:
        measured: names of the leaves that are measured anyway (those that always are need not be
            named); a method that reads another is left out, so that nobody pays for it unasked,
            and so is a direct method that makes many passes.
        sites: names of layers at each of which a method that looks at one is shown; if none, as it
            is. One that reads all layers is shown where there are several.
        blurred: whether published CAMs that depend on what is explained are also shown with a blur,
            as where a metric rewards it.
    """
    shown, had = (PUBLISHED, BASELINE, CONTROL), ALWAYS.union(measured)
    methods = [m for m in METHODS.values() if m.kind in shown and m.unasked and m.leaves <= had]
    if len(sites) < 2:
        methods = [m for m in methods if not m.fusion]
    if blurred:
        plain = [m for m in methods if m.kind == PUBLISHED and not ignores_target(m.leaves)]
        known = {m.expression for m in plain}
        new = {m.expression: m for m in map(Method.blurred, plain) if m.expression not in known}
        last = max(i for i, m in enumerate(methods) if m.kind == PUBLISHED)
        methods[last + 1 : last + 1] = new.values()
    if not sites:
        return methods
    return list({m.name: m for one in methods for m in (one.at(site) for site in sites)}.values())


def is_habit(method: Method) -> bool:
    """Whether a method is what everybody uses, be it at any layer."""
    return method.name.partition("@")[0] == HABIT


def find_method(text: str | Expression | Method) -> Method:
    """A named method, one at a layer (``grad-cam@layer4``), one with a blur
    (``blurred-grad-cam``), a formula of the zoo (``zoo:NAME``), or any expression as one.

    Raises:
        UnknownNameError, ExpressionError: neither a name nor an expression.
    """
    if isinstance(text, Method):
        return text
    if isinstance(text, Expression):
        return Method(str(text), OWN, text)
    if not isinstance(text, str):
        raise ExpressionError(
            f"a formula is text, an Expression or a Method, got {type(text).__name__}"
        )
    text = text.strip()
    if text in METHODS:
        return METHODS[text]
    if text.startswith(PREFIX):
        return find_method(formula(text))
    name, _, site = text.partition("@")
    plain = name.removeprefix(f"{BLURRED}-")
    if plain in METHODS:
        method = METHODS[plain] if plain == name else METHODS[plain].blurred()
        return method.at(site) if site else method
    words = re.findall(r"\w+", text)
    written = any(c in text for c in (*"()*/ ", *FOREIGN_SIGNS))
    if not written and not all(word in LEAVES for word in words):
        raise unknown_name("method", text, METHODS, "sycam methods lists all; or an expression")
    expression = parse_weights(text)
    return Method(str(expression), OWN, expression)


def find_expression(text: str | Expression | Method) -> Expression:
    """The expression of a named method or of a text; ExpressionError for a direct method."""
    method = find_method(text)
    if method.expression is None:
        raise ExpressionError(
            f"method {method.name!r} is computed directly, not by an expression of weights"
        )
    return method.expression
