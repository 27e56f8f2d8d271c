// Tokens of a corpus, and their cache on disk: tokenising is the slow part of a start.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "trainer/data/corpus.h"
#include "trainer/data/token_store.h"
#include "trainer/data/tokenizer.h"

namespace thinwire::trainer {

// By source; both parts in the order of the text.
struct TokenizedCorpus {
  std::vector<TokenStream> train;
  std::vector<TokenStream> held_out;
  std::vector<std::uint64_t> held_out_bytes;  // of text
};

// XXH3-128 in hex of the texts (by their hashes), tokenizer and split; no path is part of it.
std::string corpus_key(const std::vector<Source>& sources, const Tokenizer& tokenizer, double held_out);

// A cache file says which corpus it is of and ends with a hash of itself. Nothing if the file is missing, of
// another corpus, cut or changed. Throws std::runtime_error if something else than a plain file stands there.
std::optional<TokenizedCorpus> read_token_cache(const std::string& path, const std::string& key);

// The tokens of sources that were opened and read, through the cache CACHE_DIR/tokens-KEY.bin; a file that
// cannot be believed is made again: written under a name of its own, and renamed, so that workers that race
// for one file all leave a whole one. Where that cannot be written the tokens stand in a file of $TMPDIR
// without a name, or in memory, which is warned of; so they do, without a word, if cache_dir is empty.
// Memory does not grow with the text. Throws std::runtime_error if a text has changed since it was read.
TokenizedCorpus tokenize_cached(const std::vector<Source>& sources, const Tokenizer& tokenizer,
                                double held_out, const std::string& cache_dir, const TextWatch& watch = {});

}  // namespace thinwire::trainer
