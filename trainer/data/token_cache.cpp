#include "trainer/data/token_cache.h"

#include <unistd.h>
#include <xxhash.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>

namespace thinwire::trainer {
namespace {

constexpr std::string_view kMagic = "thinwire tokens 1\n";
constexpr std::size_t kChunkBytes = 64 << 10;  // SentencePiece is quickest on short texts
constexpr std::size_t kHashBytes = 32;

std::string hash_hex(std::string_view bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  char text[kHashBytes + 1];
  std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(hash.high64),
                static_cast<unsigned long long>(hash.low64));
  return text;
}

void encode_in_chunks(const std::vector<std::string_view>& stretches, const Tokenizer& tokenizer,
                      std::vector<std::int32_t>& tokens) {
  for (const std::string_view stretch : stretches) {
    for (const std::string_view chunk : cut_at_lines(stretch, kChunkBytes)) {
      const std::vector<std::int32_t> ids = tokenizer.encode(chunk);
      tokens.insert(tokens.end(), ids.begin(), ids.end());
    }
  }
}

void append_number(std::string& out, std::uint64_t number) {
  out.append(reinterpret_cast<const char*>(&number), sizeof number);
}

void append_tokens(std::string& out, const std::vector<std::int32_t>& tokens) {
  out.append(reinterpret_cast<const char*>(tokens.data()), tokens.size() * sizeof(std::int32_t));
}

// Takes values off the front of bytes; `ok` turns false where there are too few.
struct Reader {
  std::string_view bytes;
  bool ok = true;

  std::string_view take(std::size_t count) {
    ok = ok && count <= bytes.size();
    if (!ok) return {};
    const std::string_view taken = bytes.substr(0, count);
    bytes.remove_prefix(count);
    return taken;
  }
  std::uint64_t number() {
    std::uint64_t value = 0;
    const std::string_view taken = take(sizeof value);
    if (ok) std::memcpy(&value, taken.data(), sizeof value);
    return value;
  }
  std::vector<std::int32_t> tokens() {
    const std::uint64_t count = number();
    ok = ok && count <= bytes.size() / sizeof(std::int32_t);
    std::vector<std::int32_t> values(ok ? count : 0);
    const std::string_view taken = take(values.size() * sizeof(std::int32_t));
    if (ok && !values.empty()) std::memcpy(values.data(), taken.data(), taken.size());
    return values;
  }
};

std::string serialise(const TokenizedCorpus& corpus) {
  std::string out(kMagic);
  out += corpus.key;
  append_number(out, corpus.held_out_bytes);
  append_number(out, corpus.held_out.size());
  append_tokens(out, corpus.held_out);
  append_number(out, corpus.train.size());
  for (const auto& tokens : corpus.train) {
    append_number(out, tokens.size());
    append_tokens(out, tokens);
  }
  return out + hash_hex(out);
}

bool write_all(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file, bytes.data(), bytes.size());
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

std::string corpus_key(const std::vector<Source>& sources, const Tokenizer& tokenizer, double held_out) {
  std::string parts(kMagic);
  append_number(parts, XXH3_64bits(&held_out, sizeof held_out));
  parts += hash_hex(tokenizer.to_bytes());
  for (const Source& source : sources) parts += hash_hex(source.text);
  return hash_hex(parts);
}

}  // namespace

TokenizedCorpus tokenize(const std::vector<Source>& sources, const Tokenizer& tokenizer, double held_out) {
  TokenizedCorpus corpus;
  corpus.key = corpus_key(sources, tokenizer, held_out);
  for (const Source& source : sources) {
    const TextSplit split = split_text(source.text, held_out);
    encode_in_chunks(split.train, tokenizer, corpus.train.emplace_back());
    encode_in_chunks(split.held_out, tokenizer, corpus.held_out);
    for (const std::string_view stretch : split.held_out) corpus.held_out_bytes += stretch.size();
  }
  return corpus;
}

std::optional<TokenizedCorpus> read_token_cache(const std::string& path, const std::string& key) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  const std::string bytes(std::istreambuf_iterator<char>(file), {});
  if (bytes.size() < kHashBytes) return std::nullopt;
  const std::string_view body = std::string_view(bytes).substr(0, bytes.size() - kHashBytes);
  if (std::string_view(bytes).substr(body.size()) != hash_hex(body)) return std::nullopt;

  Reader reader{body};
  if (reader.take(kMagic.size()) != kMagic || reader.take(key.size()) != key) return std::nullopt;
  TokenizedCorpus corpus;
  corpus.key = key;
  corpus.held_out_bytes = reader.number();
  corpus.held_out = reader.tokens();
  const std::uint64_t sources = reader.number();
  for (std::uint64_t s = 0; s < sources && reader.ok; ++s) corpus.train.push_back(reader.tokens());
  if (!reader.ok || !reader.bytes.empty()) return std::nullopt;
  return corpus;
}

bool write_token_cache(const std::string& path, const TokenizedCorpus& corpus) {
  std::string beside = path + ".XXXXXX";
  const int file = ::mkstemp(beside.data());
  if (file < 0) return false;
  const bool written = write_all(file, serialise(corpus));
  const bool closed = ::close(file) == 0;
  if (written && closed && ::rename(beside.c_str(), path.c_str()) == 0) return true;
  ::unlink(beside.c_str());
  return false;
}

TokenizedCorpus tokenize_cached(const std::vector<Source>& sources, const Tokenizer& tokenizer,
                                double held_out, const std::string& cache_dir) {
  std::error_code ignored;  // without the folder there is no cache
  std::filesystem::create_directories(cache_dir, ignored);
  const std::string key = corpus_key(sources, tokenizer, held_out);
  const std::string path = cache_dir + "/tokens-" + key + ".bin";
  if (auto cached = read_token_cache(path, key)) return *std::move(cached);
  TokenizedCorpus corpus = tokenize(sources, tokenizer, held_out);
  write_token_cache(path, corpus);
  return corpus;
}

}  // namespace thinwire::trainer
