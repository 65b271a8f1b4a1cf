//! The regions and their codes in the older URL form.

const CODES: [(&str, &str); 42] = [
    ("africa-south1", "bq"),
    ("asia-east1", "de"),
    ("asia-east2", "df"),
    ("asia-northeast1", "an"),
    ("asia-northeast2", "dt"),
    ("asia-northeast3", "du"),
    ("asia-south1", "el"),
    ("asia-south2", "em"),
    ("asia-southeast1", "as"),
    ("asia-southeast2", "et"),
    ("australia-southeast1", "ts"),
    ("australia-southeast2", "km"),
    ("europe-central2", "lm"),
    ("europe-north1", "lz"),
    ("europe-north2", "ma"),
    ("europe-southwest1", "no"),
    ("europe-west1", "ew"),
    ("europe-west2", "nw"),
    ("europe-west3", "ey"),
    ("europe-west4", "ez"),
    ("europe-west6", "oa"),
    ("europe-west8", "oc"),
    ("europe-west9", "od"),
    ("europe-west10", "oe"),
    ("europe-west12", "og"),
    ("me-central1", "ww"),
    ("me-central2", "wx"),
    ("me-west1", "zf"),
    ("northamerica-northeast1", "nn"),
    ("northamerica-northeast2", "pd"),
    ("northamerica-south1", "pv"),
    ("southamerica-east1", "rj"),
    ("southamerica-west1", "tl"),
    ("us-central1", "uc"),
    ("us-east1", "ue"),
    ("us-east4", "uk"),
    ("us-east5", "ul"),
    ("us-south1", "vp"),
    ("us-west1", "uw"),
    ("us-west2", "wl"),
    ("us-west3", "wm"),
    ("us-west4", "wn"),
];

/// The region with this code.
pub(crate) fn by_code(code: &str) -> Option<&'static str> {
    CODES.iter().find(|(_, known)| *known == code).map(|(region, _)| *region)
}

/// The code of this region, where it is known.
pub(crate) fn code_of(region: &str) -> Option<&'static str> {
    CODES.iter().find(|(known, _)| *known == region).map(|(_, code)| *code)
}

/// Whether `text` has the shape of a region (`[a-z]+-[a-z]+[0-9]+`): new ones
/// appear every year.
pub(crate) fn is_region(text: &str) -> bool {
    let Some((area, place)) = text.split_once('-') else { return false };
    let place_name = place.trim_end_matches(|digit: char| digit.is_ascii_digit());
    let letters = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
    letters(area) && letters(place_name) && place_name.len() < place.len()
}
