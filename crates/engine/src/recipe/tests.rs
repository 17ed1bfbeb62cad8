use super::*;
use crate::train::TrainingPrecision;

fn minutes(bytes: u64, minutes: f64) -> Recipe {
    let task = Task { bytes, seconds: Some(60.0 * minutes), speed: 3e11, ..Task::default() };
    Recipe::new(&task).unwrap()
}

#[test]
fn more_time_makes_no_smaller_model_and_more_text_no_smaller_vocabulary() {
    let mut last: Option<Recipe> = None;
    for time in [0.1, 0.5, 1.0, 2.0, 5.0, 20.0, 100.0, 1000.0] {
        let now = minutes(900_000, time);
        if let Some(last) = last {
            assert!(now.model.dim >= last.model.dim, "{now}");
        }
        last = Some(now);
    }
    // The text bounds it.
    let most = last.unwrap();
    assert!(weights(&most.model) <= c::WEIGHTS_PER_TOKEN * most.task.tokens.unwrap() as f64);
    assert!(most.trainer.dropout > 0.1);
    let mut vocab = 0;
    for bytes in [1, 1_000, 60_000, 1_000_000, 10_000_000, 1 << 30, u64::MAX] {
        let now = minutes(bytes, 5.0);
        assert!(now.vocab() >= vocab && now.vocab() <= c::VOCAB_MOST);
        vocab = now.vocab();
    }
    assert_eq!(minutes(1_000, 1.0).tokens, Tokens::Bytes);
}

/// The runs that docs/LEARNING.md measured: a megabyte of text and one, two and six budgets, of about
/// 36.5·10¹² operations each.
#[test]
fn what_was_measured_is_what_is_chosen() {
    for (budgets, dim, layers) in [(1.0, 128, 4), (2.0, 160, 5), (6.0, 192, 6)] {
        let seconds = Some(budgets * 36.5e12 / 3e11 / (1.0 - c::TIME_KEPT_BACK));
        let (bytes, tokens) = (1_003_855, Some(405_522));
        let r =
            Recipe::new(&Task { bytes, tokens, seconds, speed: 3e11, ..Task::default() }).unwrap();
        let m = &r.model;
        assert_eq!(
            (m.vocab, m.dim, m.layers, m.context, r.batch),
            (1024, dim, layers, 128, 4),
            "{r}"
        );
        assert!((0.15..0.3).contains(&r.trainer.dropout), "{r}");
        assert_eq!(r.trainer.short_windows, ShortWindows::default());
    }
    // The sources of Python's library, one budget.
    let (bytes, tokens) = (1_800_000, Some(636_187));
    let task = Task { bytes, tokens, seconds: Some(128.0), speed: 3e11, ..Task::default() };
    let r = Recipe::new(&task).unwrap();
    let m = &r.model;
    assert_eq!((m.vocab, m.dim, m.layers, m.context, r.batch), (1344, 128, 4, 512, 1), "{r}");
    assert_eq!(r.trainer.short_windows, ShortWindows { positions: 128, part: 0.5 }, "{r}");
    assert!(r.to_string().contains("windows of 128, at the end 512 tokens"), "{r}");
    // Half of the steps take the time of the longer windows, and the run no longer.
    let whole = Task { fixed: Fixed { context: Some(128), ..Fixed::default() }, ..task };
    let whole = Recipe::new(&whole).unwrap();
    let (steps, of_short) = (f64::from(r.steps), f64::from(whole.steps));
    assert!(steps < 0.95 * of_short && steps > 0.9 * of_short, "{r}\n{whole}");
}

/// However long the run: a batch takes a token more than it has windows' worth of.
#[test]
fn a_text_holds_its_batches() {
    for tokens in (9..3000).chain([10_000, 100_000, 10_000_000]) {
        for time in [0.05, 5.0, 600.0, 1e6] {
            let fixed = Fixed { tokens: Some(Tokens::Bytes), ..Fixed::default() };
            let task = Task {
                bytes: tokens,
                seconds: Some(60.0 * time),
                speed: 3e11,
                fixed,
                ..Task::default()
            };
            let r = Recipe::new(&task).unwrap();
            assert!(r.rows() < tokens as usize, "{tokens} tokens, {time} minutes: {r}");
            assert!(r.rows() <= 512 || 8 * r.rows() <= tokens as usize, "{tokens}, {time}: {r}");
        }
    }
}

/// What is fixed stays; the rest makes room for a batch, or the task is refused.
#[test]
fn a_text_holds_a_batch_of_what_is_fixed_or_is_refused() {
    let of = |bytes, tokens, context, batch| {
        let fixed = Fixed { context, batch, ..Fixed::default() };
        let epochs = Some(2.0);
        Recipe::new(&Task { bytes, tokens, epochs, fixed, ..Task::default() })
    };
    let text =
        |bytes, tokens, context, batch| of(bytes, tokens, context, batch).unwrap_err().to_string();
    for tokens in [9, 100, 1000, 3000, 10_000] {
        for size in [1, 8, 16, 32, 100, 1000, 4096] {
            match of(3 * tokens, Some(tokens), Some(size), None) {
                Ok(r) => {
                    assert!(r.model.context == size && r.rows() < tokens as usize, "{tokens}: {r}")
                }
                Err(error) => assert!(size >= tokens as usize, "{tokens}, {size}: {error}"),
            }
            match of(3 * tokens, Some(tokens), None, Some(size)) {
                Ok(r) => assert!(r.batch == size && r.rows() < tokens as usize, "{tokens}: {r}"),
                // No window is shorter than eight tokens.
                Err(error) => assert!(8 * size >= tokens as usize, "{tokens}, {size}: {error}"),
            }
        }
    }
    // Where the text holds the batch anyway, the window is what it was.
    assert_eq!(of(3000, Some(2000), None, Some(4)).unwrap().model.context, 128);
    let short = text(900, Some(300), Some(300), None);
    assert_eq!(
        short,
        "the text is too short for this context: 1 x 300 take 301 tokens, and it has 300"
    );
    assert!(text(900, Some(300), None, Some(64)).contains("for this batch: 64 x 8 take 513"));
    assert!(text(900, Some(300), Some(75), Some(4)).contains("for this batch and context: 4 x 75"));
    assert_eq!(of(900, Some(301), Some(75), Some(4)).unwrap().rows(), 300);
    // An estimate refuses nothing that may be; more tokens than bytes there can't be.
    assert_eq!(of(900, None, Some(75), Some(8)).unwrap().rows(), 600);
    assert!(
        text(900, None, Some(75), Some(12)).ends_with("take 901 tokens, and it has at most 900")
    );
}

/// A width alone says how long a run is: each weight of the blocks sees its tokens, in whole epochs.
#[test]
fn a_size_says_how_long() {
    let of = |dim, speed| {
        let fixed = Fixed { dim: Some(dim), ..Fixed::default() };
        Recipe::new(&Task { bytes: 1_000_000, speed, fixed, ..Task::default() }).unwrap()
    };
    for dim in [64, 128, 256, 384] {
        let r = of(dim, 0.0);
        let (train, wanted) = (r.task.tokens.unwrap() as f64, weights(&r.model));
        let seen = f64::from(r.steps) * r.rows() as f64;
        assert!((r.epochs - r.epochs.round()).abs() < 0.01 && r.epochs > 0.9, "{r}");
        let least = c::TOKENS_PER_WEIGHT * wanted;
        assert!(seen > least * 0.99 && seen < least + train + r.rows() as f64, "{r}");
        assert!(!r.to_string().contains(" s at"), "{r}");
    }
    // The speed changes nothing but what is said.
    let (silent, spoken) = (of(128, 0.0), of(128, 3e11));
    assert_eq!((silent.steps, silent.trainer), (spoken.steps, spoken.trainer));
    assert!(spoken.to_string().contains(" in about "), "{spoken}");
    assert!(Recipe::new(&Task { bytes: 1_000_000, ..Task::default() }).is_err());
}

#[test]
fn what_is_fixed_stays() {
    let fixed = Fixed {
        tokens: Some(Tokens::Subwords),
        vocab: Some(777),
        dim: Some(72),
        layers: Some(2),
        heads: Some(3),
        hidden: Some(100),
        context: Some(50),
        short_windows: Some(25),
        batch: Some(3),
        rate: Some(0.5),
        warmup: Some(7),
        dropout: Some(0.0),
        beta2: Some(0.9),
        weight_decay: Some(0.2),
        steps: Some(1234),
    };
    let r = Recipe::new(&Task { bytes: 5000, fixed, ..Task::default() }).unwrap();
    let m = &r.model;
    assert_eq!((m.vocab, m.dim, m.layers, m.heads, m.hidden, m.context), (777, 72, 2, 3, 100, 50));
    assert_eq!((r.batch, r.steps, r.trainer.schedule), (3, 1234, Schedule::linear(0.5, 7, 1234)));
    assert_eq!((r.trainer.dropout, r.trainer.beta2, r.trainer.weight_decay), (0.0, 0.9, 0.2));
    assert_eq!(r.trainer.short_windows.positions, 25);
    // Who says how long windows are, or how many, gets no others; nor who wants none.
    let long = Task { bytes: 4_000_000, epochs: Some(5.0), ..Task::default() };
    for (context, batch, short_windows, whole) in
        [(Some(256), None, None, 256), (None, Some(4), None, 128), (None, None, Some(0), 128)]
    {
        let fixed = Fixed { context, batch, short_windows, ..Fixed::default() };
        let r = Recipe::new(&Task { fixed, ..long }).unwrap();
        assert_eq!((r.model.context, r.trainer.short_windows.positions), (whole, 0), "{r}");
    }
    // A short text has not enough of the long ones.
    let r = Recipe::new(&Task { bytes: 1_000_000, ..long }).unwrap();
    assert_eq!((r.model.context, r.trainer.short_windows.positions), (128, 0), "{r}");
    // Nothing else hinders a width that no head of 32 divides.
    let fixed = Fixed { dim: Some(50), ..Fixed::default() };
    let task = Task { bytes: 1 << 20, epochs: Some(2.0), fixed, ..Task::default() };
    assert_eq!(Recipe::new(&task).unwrap().model.heads, 1);
}

/// The shorter a text, the stronger the decay: it takes the same number of epochs.
#[test]
fn decay_is_counted_in_epochs() {
    let of = |tokens: u64, rate| {
        let fixed = Fixed { dim: Some(128), batch: Some(4), rate, ..Fixed::default() };
        let bytes = 3 * tokens;
        let task =
            Task { bytes, tokens: Some(tokens), epochs: Some(10.0), fixed, ..Task::default() };
        Recipe::new(&task).unwrap().trainer
    };
    let megabyte = of(410_000, None);
    let (rate, steps) = (f64::from(megabyte.schedule.base), 410_000.0 / 512.0);
    let left = (1.0 - rate * f64::from(megabyte.weight_decay)).powf(c::DECAY_EPOCHS * steps);
    assert!((left - (-1.0f64).exp()).abs() < 1e-3, "{left}");
    assert!((of(205_000, None).weight_decay / megabyte.weight_decay - 2.0).abs() < 1e-3);
    let ends = [of(2000, None), of(100_000_000, None)].map(|t| f64::from(t.weight_decay));
    assert!((ends[0] - c::DECAY_MOST).abs() < 1e-6 && (ends[1] - c::DECAY_LEAST).abs() < 1e-6);
    // A rate that the caller chose makes it neither stronger nor weaker.
    assert_eq!(of(410_000, Some(1e-5)).weight_decay, megabyte.weight_decay);
}

/// Words are trained by the clock as the rest is; a row of the embedding for each makes a step dearer.
#[test]
fn words_where_they_are_asked_for() {
    let of = |vocab| {
        let fixed = Fixed { tokens: Some(Tokens::Words), vocab, ..Fixed::default() };
        let task =
            Task { bytes: 900_000, seconds: Some(60.0), speed: 3e11, fixed, ..Task::default() };
        Recipe::new(&task).unwrap()
    };
    let (many, few) = (of(None), of(Some(500)));
    assert_eq!((many.tokens, many.vocab(), few.vocab()), (Tokens::Words, c::WORD_VOCAB, 500));
    assert_eq!(many.task.tokens, few.task.tokens);
    assert_eq!(many.task.tokens, Some((900_000.0 / c::BYTES_PER_WORD) as u64));
    assert!(many.epochs < few.epochs, "{many} {few}");
    assert!(many.to_string().contains("10000 words") && many.to_string().lines().count() == 3);
}

#[test]
fn nonsense_is_refused() {
    let good = Task { bytes: 1 << 20, seconds: Some(60.0), speed: 1e11, ..Task::default() };
    assert!(Recipe::new(&good).is_ok());
    for bad in [
        Task { bytes: 0, ..good },
        Task { seconds: None, ..good },
        Task { seconds: Some(0.0), ..good },
        Task { seconds: Some(f64::NAN), ..good },
        Task { seconds: Some(f64::INFINITY), ..good },
        Task { speed: 0.0, ..good },
        Task { speed: f64::NAN, ..good },
        Task { seconds: None, epochs: Some(-1.0), ..good },
        Task { fixed: Fixed { dim: Some(0), ..Fixed::default() }, ..good },
        Task { fixed: Fixed { steps: Some(0), ..Fixed::default() }, ..good },
        Task { fixed: Fixed { dim: Some(33), heads: Some(2), ..Fixed::default() }, ..good },
        Task { fixed: Fixed { dropout: Some(1.0), ..Fixed::default() }, ..good },
        Task { fixed: Fixed { dim: Some(usize::MAX / 8), ..Fixed::default() }, ..good },
        Task { fixed: Fixed { batch: Some(usize::MAX), ..Fixed::default() }, ..good },
        Task { fixed: Fixed { layers: Some(usize::MAX), ..Fixed::default() }, ..good },
    ] {
        assert!(Recipe::new(&bad).is_err(), "{bad:?}");
    }
}

/// Whatever is asked, the answer can be trained: sizes that fit each other, shares in their range.
#[test]
fn every_recipe_can_be_trained() {
    for bytes in [1, 100, 3_000, 50_000, 1_000_000, 30_000_000, 1 << 40] {
        for seconds in [1e-3, 1.0, 60.0, 300.0, 1e5, 1e12] {
            for speed in [1e3, 1e10, 1e12, 1e16] {
                let task = Task { bytes, seconds: Some(seconds), speed, ..Task::default() };
                let r = Recipe::new(&task).unwrap();
                r.model.check().unwrap();
                assert!(r.steps > 0 && r.evaluate_every > 0 && r.rows() > 0);
                assert!(r.evaluate_tokens <= r.task.held_out.unwrap());
                let t = &r.trainer;
                assert!((0.0..=0.3).contains(&t.dropout) && (0.95..1.0).contains(&t.beta2));
                assert!(t.schedule.base > 0.0 && t.schedule.base < 0.1);
                assert!(t.schedule.warmup <= r.steps && t.schedule.rate(r.steps) < 1e-3);
                assert_eq!(r.to_string().lines().count(), 3);
                assert_eq!(Recipe::new(&task).unwrap(), r);
            }
        }
    }
}

#[test]
fn evaluations_cost_their_part_at_most() {
    for steps in [1, 5, 100, 4000, 1_000_000] {
        for rows in [8, 1024, 65536] {
            for held_out in [0, 2, 1000, 100_000, 1 << 40] {
                let (every, tokens) = evaluations(steps, rows, held_out);
                assert!(every >= 1 && every <= steps && tokens <= held_out);
                let cost = f64::from(steps / every) * tokens as f64 / 3.0;
                let work = f64::from(steps) * rows as f64;
                assert!(tokens <= 2 || cost <= 1.01 * c::EVALUATION_PART * work);
            }
        }
    }
}

/// A run on a machine that is slower or faster than planned, and changes its mind once.
#[test]
fn corrections_end_a_run_on_time_at_the_end_of_its_schedule() {
    for speed in [0.4, 0.9, 1.0, 1.3, 3.0] {
        let (total, planned) = (100.0, 5000u32);
        let each = total / f64::from(planned);
        let mut schedule = Schedule::linear(1e-3, 50, planned);
        let (mut step, mut elapsed, mut before) = (0, 0.0, schedule.rate(100));
        while step < schedule.end {
            elapsed += each / if step < 1000 { speed } else { 1.1 * speed };
            step += 1;
            if step % 100 == 0 {
                let left = steps_left(step, elapsed, schedule.end - step, total - elapsed);
                if left != schedule.end - step {
                    schedule = schedule.ending(step, step + left);
                }
                let rate = schedule.rate(step);
                assert!(step <= 100 || rate <= 1.001 * before, "{rate} after {before}");
                before = rate;
            }
        }
        assert!((elapsed - total).abs() < 2.0, "speed {speed}: {elapsed} s");
        assert!(schedule.rate(step) < 1e-9 && schedule.rate(step - 1) < 1e-5);
    }
}

#[test]
fn the_measurement_is_a_speed() {
    let pool = cllm_kernels::Pool::serial();
    for precision in [TrainingPrecision::F32, TrainingPrecision::Bf16] {
        match measure(&pool, precision) {
            Ok(speed) => assert!(speed.is_finite() && speed > 1e6, "{speed}"),
            Err(error) => assert!(!precision.is_available(), "{error}"),
        }
    }
}

#[test]
fn bytes_are_explained_as_they_came_about() {
    let of = |bytes, tokens| {
        let fixed = Fixed { tokens, ..Fixed::default() };
        let task = Task { bytes, seconds: Some(60.0), speed: 3e11, fixed, ..Task::default() };
        Recipe::new(&task).unwrap().to_string()
    };
    assert!(of(1_000, None).contains("too few for parts of words"));
    let asked = of(1_000_000, Some(Tokens::Bytes));
    assert!(
        asked.starts_with("Tokens: single bytes, 1.0 million of them, as asked for\n"),
        "{asked}"
    );
}
