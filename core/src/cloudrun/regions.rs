//! Regions: the codes of the older URLs, and what a misspelt one may have meant.
//! A region that is not listed is as good as any other.

use crate::settings::distance;

/// Region and two-letter code, as observed in services' URLs.
const CODES: &[(&str, &str)] = &[
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
    ("europe-west10", "oe"),
    ("europe-west12", "og"),
    ("europe-west2", "nw"),
    ("europe-west3", "ey"),
    ("europe-west4", "ez"),
    ("europe-west6", "oa"),
    ("europe-west8", "oc"),
    ("europe-west9", "od"),
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

/// Regions without a code that anybody has seen.
const OTHERS: &[&str] = &["asia-southeast3"];

fn known() -> impl Iterator<Item = &'static str> {
    CODES.iter().map(|(region, _)| *region).chain(OTHERS.iter().copied())
}

/// Whether a region is among those that runsd has heard of; others may exist.
pub(super) fn is_known(region: &str) -> bool {
    known().any(|known| known == region)
}

/// The region that `region` is probably a misspelling of.
pub(super) fn nearest(region: &str) -> Option<&'static str> {
    let near = known().map(|known| (distance(region, known), known));
    near.filter(|(distance, _)| *distance <= 2).min().map(|(_, known)| known)
}

/// The two-letter code of a region.
pub(super) fn code(region: &str) -> Option<&'static str> {
    CODES.iter().find(|(known, _)| *known == region).map(|(_, code)| *code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::is_region;

    #[test]
    fn every_region_has_the_shape_of_one_and_a_code_of_its_own() {
        let mut codes: Vec<&str> = CODES.iter().map(|(_, code)| *code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), CODES.len());
        assert!(CODES.iter().all(|(region, code)| is_region(region) && code.len() == 2));
        assert_eq!(code("us-central1"), Some("uc"));
        assert_eq!(code("moon-base1"), None);
    }
}
