"""Classes and splits of MultiBypass140, in the order of its ids and as in its pickles and SurgRec's lists."""

from surgvl.data.splits import Splits

PHASES = (
    "preparation",
    "gastric_pouch_creation",
    "omentum_division",
    "gastrojejunal_anastomosis",
    "anastomosis_test",
    "jejunal_separation",
    "closure_petersen_space",
    "jejunojejunal_anastomosis",
    "closure_mesenteric_defect",
    "cleaning_coagulation",
    "disassembling",
    "other_intervention",
)
FLAGS = ("out_of_body", "severe_index")
STEPS = (
    "s0_null_step",
    "s1_cavity_exploration",
    "s2_trocar_placement",
    "s3_retractor_placement",
    "s4_crura_dissection",
    "s5_his_angle_dissection",
    "s6_horizontal_stapling",
    "s7_retrogastric_dissection",
    "s8_vertical_stapling",
    "s9_gastric_remnant_reinforcement",
    "s10_gastric_pouch_reinforcement",
    "s11_gastric_opening",
    "s12_omental_lifting",
    "s13_omental_section",
    "s14_adhesiolysis",
    "s15_treitz_angle_identification",
    "s16_biliary_limb_measurement",
    "s17_jejunum_opening",
    "s18_gastrojejunal_stapling",
    "s19_gastrojejunal_defect_closing",
    "s20_mesenteric_opening",
    "s21_jejunal_section",
    "s22_gastric_tube_placement",
    "s23_jejunal_clamping",
    "s24_ink_injection",
    "s25_visual_assessment",
    "s26_gastrojejunal_anastomosis_reinforcement",
    "s27_petersen_space_exposure",
    "s28_petersen_space_closing",
    "s29_biliary_limb_opening",
    "s30_alimentary_limb_measurement",
    "s31_alimentary_limb_opening",
    "s32_jejunojejunal_stapling",
    "s33_jejunojejunal_defect_closing",
    "s34_jejunojejunal_anastomosis_reinforcement",
    "s35_staple_line_reinforcement",
    "s36_mesenteric_defect_exposure",
    "s37_mesenteric_defect_closing",
    "s38_anastomosis_fixation",
    "s39_coagulation",
    "s40_irrigation_aspiration",
    "s41_parietal_closure",
    "s42_trocar_removal",
    "s43_calibration",
    "s44_drainage_insertion",
    "s45_specimen_retrieval",
)
# Validation and test videos of Bern's folds; the other 40 of the 70 are for training.
_BERN = {
    1: ("12 18 25 35 36 41 44 49 67 69", "02 03 04 07 15 16 17 27 28 32 34 37 39 43 52 53 55 56 62 70"),
    2: ("08 18 23 36 41 44 47 48 60 67", "03 07 12 13 15 17 19 25 27 28 30 35 43 49 52 53 56 57 68 69"),
    3: ("05 08 22 23 31 38 47 48 51 60", "06 12 13 14 18 19 24 25 30 35 36 41 44 49 57 61 64 67 68 69"),
    4: ("05 22 29 31 33 38 45 51 54 58", "01 06 08 14 18 23 24 36 41 44 46 47 48 59 60 61 63 64 65 67"),
}
# 57, 11 and 22, of both centres.
_SURGREC = {
    "train": (
        "BBP01 BBP05 BBP06 BBP07 BBP08 BBP09 BBP13 BBP14 BBP15 BBP18 BBP19 BBP22 BBP23 BBP24 BBP26 BBP30 BBP31 BBP36 "
        "BBP40 BBP41 BBP42 BBP43 BBP44 BBP46 BBP47 BBP48 BBP50 BBP51 BBP52 BBP53 BBP57 BBP59 BBP60 BBP61 BBP63 BBP64 "
        "BBP65 BBP67 BBP68 SBP01 SBP04 SBP05 SBP08 SBP11 SBP17 SBP19 SBP29 SBP39 SBP40 SBP42 SBP45 SBP48 SBP53 SBP54 "
        "SBP62 SBP63 SBP69"
    ),
    "val": ("BBP03 BBP12 BBP17 BBP25 BBP27 BBP28 BBP35 BBP49 BBP56 BBP69 SBP61"),
    "test": (
        "BBP02 BBP10 BBP11 BBP16 BBP20 BBP21 BBP29 BBP32 BBP33 BBP34 BBP37 BBP39 BBP45 BBP54 BBP55 BBP58 BBP62 BBP66 "
        "BBP70 SBP26 SBP52 SBP58"
    ),
}


def splits() -> Splits:
    """Published splits by protocol."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for fold, parts in _BERN.items():
        val, test = (tuple(f"BBP{number}" for number in part.split()) for part in parts)
        rest = (f"BBP{number:02d}" for number in range(1, 71))
        found[f"bern_fold{fold}"] = {
            "train": tuple(one for one in rest if one not in val + test),
            "val": val,
            "test": test,
        }
    found["surgrec"] = {split: tuple(ids.split()) for split, ids in _SURGREC.items()}
    return found
