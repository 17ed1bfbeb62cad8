//! Trains a model on a text file, saves it, loads it, and lets it continue a prompt.

use cllm_engine::generate::{Generator, GeneratorConfig};
use cllm_engine::train::{Corpus, Trainer, TrainerConfig, TrainingWeights};
use cllm_engine::{Error, Model, ModelConfig, Pool, Result, text::Bpe};
use std::ops::ControlFlow;

const BATCH: (usize, usize) = (4, 16); // Sequences of a batch, and their length.

fn train(text: &str) -> Result<Model> {
    let text = std::fs::read(text).map_err(|e| Error::state(format!("{text}: {e}")))?;
    let subwords = Bpe::train([&text[..]], 300)?; // 261 of them spell any text.
    let ids = subwords.encode(&text)?;
    let config = ModelConfig {
        vocab: subwords.len(),
        dim: 64,
        layers: 2,
        hidden: 256,
        context: BATCH.1,
        ..ModelConfig::modern()
    };
    let mut model = Model::new(&config, 42)?; // The same seed gives the same model.
    model.set_tokenizer(subwords)?; // They travel with it.

    let pool = Pool::automatic();
    let corpus = Corpus::new(&ids, BATCH.0, BATCH.1)?;
    let mut weights = TrainingWeights::new(&mut model);
    let mut trainer = Trainer::new(TrainerConfig::default());
    for epoch in 1..=40 {
        let run = trainer.epoch(&pool, &mut weights, &corpus, |_| ControlFlow::Continue(()))?;
        if epoch % 10 == 0 {
            println!("epoch {epoch}: loss {:.3}", run.mean_loss());
        }
    }
    Ok(model)
}

fn speak(model: &Model, prompt: &str) -> Result<()> {
    let words = GeneratorConfig::for_words(model); // <EOS> ends; special words are not drawn.
    let config = GeneratorConfig { temperature: 0.5, max_tokens: 40, ..words };
    let mut generator = Generator::new(config, 1)?;
    generator.prompt_text(model, prompt.as_bytes())?;
    print!("{prompt}");
    for piece in generator.text(model)? {
        print!("{}", String::from_utf8_lossy(&piece?));
    }
    println!();
    Ok(())
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [text, model, prompt] = &arguments[..] else {
        eprintln!("usage: train_and_generate TEXT MODEL PROMPT");
        std::process::exit(2);
    };
    train(text)?.write(model)?;
    speak(&Model::read(model)?, prompt)
}
