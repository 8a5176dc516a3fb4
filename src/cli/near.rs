//! What was meant by a word that is not known.

/// How alike two words are, from 0 to 1, of which one may be meant by the other. The bound that clap uses for verbs and options.
const ALIKE: f64 = 0.7;

/// The word among `known` that is most like `word`, if any is like it.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known
        .into_iter()
        .map(|candidate| (strsim::jaro(word, candidate), candidate));
    let alike = scored.filter(|(score, _)| *score > ALIKE);
    let best = alike.max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.map(|(_, candidate)| candidate)
}

/// The end of a message that `word` is not known: a question, or nothing if no word among `known` is like it.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map_or_else(String::new, |meant| format!(": did you mean {meant}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_most_alike_is_meant() {
        let known = ["nosuid", "suid", "size", "ro"];
        assert_eq!(nearest("nosuied", known), Some("nosuid"));
        assert_eq!(nearest("siez", known), Some("size"));
        assert_eq!(nearest("wobble", known), None);
        assert_eq!(did_you_mean("siud", known), ": did you mean suid?");
        assert_eq!(did_you_mean("", known), "");
    }
}
