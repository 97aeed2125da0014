//! Checksums of pages, as PostgreSQL computes them (`checksum_impl.h`): 32 sums side by side after
//! FNV-1a, over the page with its own checksum taken as zero.

use shared::units::Lsn;

/// Sums side by side.
const SUMS: usize = 32;

/// Bytes of one row of words, a word for each sum.
const ROW_BYTES: usize = SUMS * 4;

const FNV_PRIME: u32 = 16_777_619;

/// Where the checksum is in a page.
const CHECKSUM_AT: usize = 8;

/// Where the beginning of the free space's end is in a page: zero in a page that was never used.
const UPPER_AT: usize = 14;

/// What the sums begin with.
const BASES: [u32; SUMS] = [
    0x5B1F_36E9,
    0xB852_5960,
    0x02AB_50AA,
    0x1DE6_6D2A,
    0x79FF_467A,
    0x9BB9_F8A3,
    0x217E_7CD2,
    0x83E1_3D2C,
    0xF8D4_474F,
    0xE39E_B970,
    0x42C6_AE16,
    0x9932_16FA,
    0x7B09_3B5D,
    0x98DA_FF3C,
    0xF718_902A,
    0x0B1C_9CDB,
    0xE58F_764B,
    0x1876_36BC,
    0x5D7B_3BB1,
    0xE73D_E7DE,
    0x92BE_C979,
    0xCCA6_C0B2,
    0x304A_0979,
    0x85AA_43D4,
    0x7831_25BB,
    0x6CA8_EAA2,
    0xE407_EAC6,
    0x4B5C_FC3E,
    0x9FBF_8C76,
    0x15CA_20BE,
    0xF2CA_9FD3,
    0x959B_D756,
];

/// Whether a page read while PostgreSQL runs is whole, as far as can be told: one that was changed
/// after `start_lsn` may be torn, and WAL repairs it.
pub(super) fn is_good(page: &[u8], block: u32, start_lsn: Lsn) -> bool {
    let half = |at: usize| -> Option<u16> {
        let bytes = page.get(at..at + 2)?;
        Some(u16::from_ne_bytes(bytes.try_into().ok()?))
    };
    let (Some(stored), Some(upper), Some(lsn)) = (half(CHECKSUM_AT), half(UPPER_AT), lsn(page))
    else {
        return false;
    };
    if upper == 0 || lsn >= start_lsn {
        return true;
    }
    stored == checksum(page, block)
}

/// The position of the last change of a page.
fn lsn(page: &[u8]) -> Option<Lsn> {
    let word = |at: usize| -> Option<u64> {
        let bytes = page.get(at..at + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?).into())
    };
    Some(Lsn::from_bytes(word(0)? << 32 | word(4)?))
}

/// The checksum of page number `block` of a relation.
fn checksum(page: &[u8], block: u32) -> u16 {
    let mut sums = BASES;
    let mix = |sum: &mut u32, word: u32| {
        let mixed = *sum ^ word;
        *sum = mixed.wrapping_mul(FNV_PRIME) ^ (mixed >> 17);
    };
    for (number, row) in page.chunks_exact(ROW_BYTES).enumerate() {
        for ((place, word), sum) in row.chunks_exact(4).enumerate().zip(&mut sums) {
            let mut word: [u8; 4] = word.try_into().unwrap_or_default();
            if number == 0 && place == CHECKSUM_AT / 4 {
                word[..2].fill(0);
            }
            mix(sum, u32::from_ne_bytes(word));
        }
    }
    for _ in 0..2 {
        for sum in &mut sums {
            mix(sum, 0);
        }
    }
    let all = sums.iter().fold(block, |all, sum| all ^ sum);
    // Never zero, which means that there is none.
    u16::try_from(all % 65_535 + 1).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(block: u32) -> Vec<u8> {
        let mut page: Vec<u8> = (0..8192_u32)
            .map(|n| u8::try_from(n % 253).unwrap())
            .collect();
        page[..8].fill(0);
        page[4] = 100;
        let sum = checksum(&page, block);
        page[CHECKSUM_AT..CHECKSUM_AT + 2].copy_from_slice(&sum.to_ne_bytes());
        page
    }

    #[test]
    fn any_flipped_bit_is_found_and_the_place_counts() {
        let good = page(7);
        let start = Lsn::from_bytes(101);
        assert!(is_good(&good, 7, start));
        assert!(!is_good(&good, 8, start));
        for at in [8, 9, 10, 20, 127, 128, 4000, 8191] {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert!(!is_good(&bad, 7, start), "byte {at}");
        }
        assert!(!is_good(&good[..6], 7, start));
    }

    #[test]
    fn new_pages_and_those_changed_meanwhile_say_nothing() {
        let mut changed = page(7);
        changed[5000] ^= 1;
        assert!(is_good(&changed, 7, Lsn::from_bytes(100)));
        assert!(is_good(&[0; 8192], 7, Lsn::from_bytes(101)));
    }
}
