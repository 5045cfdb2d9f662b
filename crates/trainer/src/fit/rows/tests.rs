use proptest::prelude::*;
use tocsin_domain::{Codec, SpectrumSpec, Timestamp};

use super::*;
use crate::on_disk::{Plan, Writer};

const BINS: usize = 32;

/// Rows whose first two codes are their number, every fifth of them held out.
fn numbered(rows: u16, files: usize, seed: u64) -> Rows {
    let spec = SpectrumSpec::corpus_default(BINS as u16);
    let codec = Codec::for_spec(&spec);
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan {
        files,
        buffers: 0,
        sample: 10,
    };
    let mut writer = Writer::planned(&spec, folder.path(), plan, seed).unwrap();
    for number in 0..rows {
        let mut codes = [100; BINS];
        codes[..2].copy_from_slice(&number.to_le_bytes());
        let at = Timestamp::from_micros(number.into());
        writer
            .push("a/b/c", at, &codec.decode(&codes), number.is_multiple_of(5))
            .unwrap();
    }
    let set = writer.finish().unwrap();
    // Every code stands for itself.
    let table = (0..BINS * 256).map(|at| (at % 256) as f32).collect();
    Rows::OnDisk(Standardised {
        stored: Arc::clone(set.stored().unwrap()),
        table,
    })
}

fn numbers(mut batches: Batches<'_>, batch: usize) -> Vec<u16> {
    let mut numbers = Vec::new();
    let mut short = false;
    while let Some(batch_of) = batches.next(batch).unwrap() {
        assert!(!short, "a batch that is not full stands at the end alone");
        short = batch_of.rows < batch;
        assert_eq!(batch_of.input, batch_of.target);
        let rows = batch_of.input.chunks_exact(BINS);
        numbers.extend(rows.map(|row| u16::from_le_bytes([row[0] as u8, row[1] as u8])));
    }
    numbers
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn every_epoch_goes_through_each_row_once_in_an_order_of_its_own_that_follows_from_the_seed(
        rows in 60_u16..1200,
        files in 1_usize..9,
        batch in 1_usize..200,
        seed in any::<u64>(),
    ) {
        let epochs = |seed: u64| {
            let rows = numbered(rows, files, seed);
            let mut rng = ChaCha12Rng::seed_from_u64(seed);
            [Part::Rest, Part::All, Part::All].map(|part| numbers(rows.shuffled(part, &mut rng), batch))
        };
        let [rest, first, second] = epochs(seed);
        let sorted = |numbers: &[u16]| {
            let mut sorted = numbers.to_vec();
            sorted.sort_unstable();
            sorted
        };
        let all: Vec<u16> = (0..rows).collect();
        let but_held_out: Vec<u16> = (0..rows).filter(|number| !number.is_multiple_of(5)).collect();
        prop_assert_eq!(sorted(&rest), but_held_out);
        prop_assert_eq!(sorted(&first), all.clone());
        prop_assert_eq!(sorted(&second), all.clone());
        prop_assert_ne!(&first, &second);
        prop_assert_ne!(&first, &all);
        prop_assert_eq!(epochs(seed), [rest, first.clone(), second]);
        let [_, other, _] = epochs(seed.wrapping_add(1));
        prop_assert_ne!(first, other);
    }
}

#[test]
fn any_two_rows_are_as_likely_to_follow_one_another_as_any_others() {
    const ROWS: u16 = 60;
    let (mut neighbours, mut places) = (0, [0_u32; 4]);
    let seeds = 0..400;
    for seed in seeds.clone() {
        let rows = numbered(ROWS, 3, seed);
        let order = numbers(rows.shuffled(Part::All, &mut ChaCha12Rng::seed_from_u64(seed)), 7);
        neighbours += order.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) == 1).count();
        let first = order.iter().position(|number| *number == 0).unwrap();
        places[first * 4 / usize::from(ROWS)] += 1;
    }
    // Of a random order two in ROWS neighbours have neighbouring numbers, less what the ends lack: 2 x 59 pairs in 60 x 59.
    let expected = 2.0 * f64::from(ROWS - 1) / f64::from(ROWS) * seeds.count() as f64;
    assert!(
        (neighbours as f64 / expected - 1.0).abs() < 0.12,
        "{neighbours} of {expected}"
    );
    assert!(places.iter().all(|count| (70..=130).contains(count)), "{places:?}");
}

#[test]
fn rows_in_order_are_those_of_their_part_and_some_of_them_are_a_few_of_all() {
    let rows = numbered(500, 4, 3);
    assert_eq!(rows.count(Part::HeldOut), 100);
    let mut held_out = numbers(rows.in_order(Part::HeldOut), 64);
    held_out.sort_unstable();
    assert_eq!(held_out, (0..500).step_by(5).collect::<Vec<u16>>());
    assert_eq!(rows.some(50).unwrap().unwrap().rows, 50);
    assert_eq!(rows.digest(), numbered(500, 4, 3).digest());
    assert_ne!(rows.digest(), numbered(500, 4, 4).digest());
    assert_ne!(rows.digest(), numbered(500, 5, 3).digest());
}
