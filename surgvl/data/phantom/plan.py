"""The plan of the phantom's operations: order and length of phases, and the weighted triplets of each phase.

Only its triplets identify a phase. Many (instrument, target) pairs occur with two or three verbs in the same phase, so
that appearance reveals the phase, but only motion reveals the verb.
"""

# Fraction of the operation, and probability that the phase is skipped.
PHASE_SHARES: dict[str, tuple[float, float]] = {
    "Preparation": (0.12, 0.08),
    "CalotTriangleDissection": (0.20, 0.0),
    "ClippingCutting": (0.14, 0.04),
    "GallbladderDissection": (0.19, 0.0),
    "GallbladderPackaging": (0.12, 0.08),
    "CleaningCoagulation": (0.13, 0.12),
    "GallbladderRetraction": (0.11, 0.1),
}
LENGTH_SIGMA = 0.35

PHASE_TRIPLETS: dict[str, dict[str, float]] = {
    "Preparation": {
        "grasper,retract,omentum": 1.0,
        "grasper,grasp,omentum": 1.0,
        "grasper,grasp,peritoneum": 0.7,
        "scissors,cut,adhesion": 1.0,
        "bipolar,dissect,adhesion": 1.0,
        "hook,cut,peritoneum": 1.0,
        "hook,dissect,peritoneum": 1.0,
        "grasper,null_verb,null_target": 0.35,
    },
    "CalotTriangleDissection": {
        "hook,dissect,cystic_duct": 1.0,
        "hook,coagulate,cystic_duct": 1.0,
        "hook,dissect,cystic_artery": 1.0,
        "hook,coagulate,cystic_artery": 1.0,
        "grasper,retract,cystic_pedicle": 1.0,
        "grasper,grasp,cystic_pedicle": 1.0,
        "hook,null_verb,null_target": 0.4,
    },
    "ClippingCutting": {
        "clipper,clip,cystic_duct": 1.0,
        "clipper,clip,cystic_artery": 1.0,
        "scissors,cut,cystic_duct": 1.0,
        "scissors,cut,cystic_artery": 1.0,
        "grasper,retract,cystic_duct": 0.8,
        "clipper,null_verb,null_target": 0.5,
    },
    "GallbladderDissection": {
        "hook,dissect,gallbladder": 1.0,
        "hook,coagulate,gallbladder": 1.0,
        "grasper,retract,liver": 1.0,
        "grasper,grasp,liver": 1.0,
        "scissors,dissect,cystic_plate": 0.9,
        "scissors,cut,cystic_plate": 0.9,
        "hook,null_verb,null_target": 0.3,
    },
    "GallbladderPackaging": {
        "grasper,pack,gallbladder": 1.2,
        "grasper,retract,gallbladder": 1.0,
        "grasper,grasp,gallbladder": 1.0,
        "grasper,grasp,specimen_bag": 1.0,
        "grasper,null_verb,null_target": 0.35,
    },
    "CleaningCoagulation": {
        "irrigator,aspirate,fluid": 1.0,
        "irrigator,irrigate,liver": 0.9,
        "irrigator,retract,liver": 0.9,
        "irrigator,irrigate,abdominal_wall_cavity": 0.9,
        "bipolar,coagulate,liver": 0.9,
        "bipolar,grasp,liver": 0.9,
        "bipolar,coagulate,blood_vessel": 1.0,
        "irrigator,null_verb,null_target": 0.4,
    },
    "GallbladderRetraction": {
        "grasper,retract,gut": 1.0,
        "grasper,grasp,gut": 1.0,
        "bipolar,grasp,specimen_bag": 1.0,
        "grasper,grasp,specimen_bag": 0.7,
        "bipolar,retract,omentum": 0.9,
        "bipolar,coagulate,omentum": 0.9,
    },
}
