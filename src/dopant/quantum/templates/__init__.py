"""Circuits that have a name: encodings, feature maps, layered ansatzes, structured networks.

    from dopant.quantum.templates import angle_encoding, strongly_entangling_layers
    c = angle_encoding(4).compose(strongly_entangling_layers(4, layers=2))

Every function returns a Circuit whose weights are numbered from 0 in the order that its docstring gives; `compose`
numbers them after those that are there, and reads features from `first_feature` on.
"""

from .ansatze import basic_entangling_layers as basic_entangling_layers
from .ansatze import efficient_su2 as efficient_su2
from .ansatze import real_amplitudes as real_amplitudes
from .ansatze import strongly_entangling_layers as strongly_entangling_layers
from .ansatze import su2n as su2n
from .ansatze import su4_brickwall as su4_brickwall
from .encodings import amplitude_encoding as amplitude_encoding
from .encodings import angle_encoding as angle_encoding
from .encodings import hamiltonian_encoding as hamiltonian_encoding
from .feature_maps import iqp_feature_map as iqp_feature_map
from .feature_maps import pauli_feature_map as pauli_feature_map
from .feature_maps import z_feature_map as z_feature_map
from .feature_maps import zz_feature_map as zz_feature_map
from .structures import data_reuploading as data_reuploading
from .structures import qaoa as qaoa
from .structures import qcnn as qcnn

__all__ = [
    "amplitude_encoding",
    "angle_encoding",
    "basic_entangling_layers",
    "data_reuploading",
    "efficient_su2",
    "hamiltonian_encoding",
    "iqp_feature_map",
    "pauli_feature_map",
    "qaoa",
    "qcnn",
    "real_amplitudes",
    "strongly_entangling_layers",
    "su2n",
    "su4_brickwall",
    "z_feature_map",
    "zz_feature_map",
]
