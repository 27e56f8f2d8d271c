// Tokens of a corpus, and their cache on disk: tokenising is the slow part of a start.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "trainer/data/corpus.h"
#include "trainer/data/tokenizer.h"

namespace thinwire::trainer {

struct TokenizedCorpus {
  std::string key;                               // XXH3-128 in hex of texts, tokenizer and split
  std::vector<std::vector<std::int32_t>> train;  // by source
  std::vector<std::int32_t> held_out;            // of all sources, in order
  std::uint64_t held_out_bytes = 0;              // of text

  bool operator==(const TokenizedCorpus&) const = default;
};

TokenizedCorpus tokenize(const std::vector<Source>& sources, const Tokenizer& tokenizer, double held_out);

// A cache file says which corpus it is of and ends with a hash of itself. Integers have this machine's byte
// order. Nothing if the file is missing, of another corpus, cut or changed.
std::optional<TokenizedCorpus> read_token_cache(const std::string& path, const std::string& key);

// Writes beside under a name of its own and renames, so that workers that race for one file both leave a
// whole one. False if the file cannot be written (a full disk, no permission): a cache may be missing.
bool write_token_cache(const std::string& path, const TokenizedCorpus& corpus);

// tokenize() through the cache CACHE_DIR/tokens-KEY.bin; a file that cannot be believed is made again.
TokenizedCorpus tokenize_cached(const std::vector<Source>& sources, const Tokenizer& tokenizer,
                                double held_out, const std::string& cache_dir);

}  // namespace thinwire::trainer
