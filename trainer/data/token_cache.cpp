#include "trainer/data/token_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>

namespace thinwire::trainer {
namespace {

namespace fs = std::filesystem;

// Part of every corpus key, which checkpoints hold: it stays what it was when caches were of version 1.
constexpr std::string_view kKeyStart = "thinwire tokens 1\n";
constexpr std::string_view kMagic = "thinwire tokens 2\n";
constexpr std::size_t kChunkBytes = 64 << 10;  // SentencePiece is quickest on short texts
constexpr std::size_t kHashBytes = 32;
constexpr std::size_t kHeaderBytes = 64;  // magic, key, bytes of a token, zeros
constexpr std::size_t kTrailerBytes = sizeof(std::uint64_t) + kHashBytes;  // where the index starts; hash
constexpr std::size_t kReadBytes = 1 << 20;
constexpr int kMaxTries = 10;
constexpr std::size_t kSuffixBytes = 7;  // ".XXXXXX" of a cache that is being written

// The tokens of one stretch of text, in the order of the file.
struct IndexEntry {
  std::uint64_t held_out;
  std::uint64_t bytes;
  std::uint64_t tokens;
};

using Index = std::vector<std::vector<IndexEntry>>;  // by source

void append_number(std::string& out, std::uint64_t number) {
  out.append(reinterpret_cast<const char*>(&number), sizeof number);
}

std::string header(const std::string& key, int token_bytes) {
  std::string bytes = std::string(kMagic) + key;
  append_number(bytes, static_cast<std::uint64_t>(token_bytes));
  bytes.resize(kHeaderBytes);
  return bytes;
}

TokenizedCorpus corpus_of(const Index& index, const std::shared_ptr<const TokenFile>& file) {
  TokenizedCorpus corpus;
  std::uint64_t first = 0;
  for (const auto& source : index) {
    TokenStream& train = corpus.train.emplace_back(file);
    TokenStream& held_out = corpus.held_out.emplace_back(file);
    std::uint64_t& held_out_bytes = corpus.held_out_bytes.emplace_back(0);
    for (const IndexEntry& entry : source) {
      (entry.held_out != 0 ? held_out : train).append(first, entry.tokens);
      if (entry.held_out != 0) held_out_bytes += entry.bytes;
      first += entry.tokens;
    }
  }
  return corpus;
}

// Writes the tokens of a source's stretches.
std::vector<IndexEntry> write_source(const Source& source, const Tokenizer& tokenizer, double held_out,
                                     int token_bytes, TokenWriter& out, const TextWatch& watch) {
  std::vector<IndexEntry> entries;
  RunningHash hash;
  for (const Stretch& stretch : split_text(*source.text, held_out)) {
    IndexEntry entry{stretch.held_out ? 1u : 0u, stretch.size(), 0};
    TextCursor cursor(*source.text, stretch.begin, stretch.end);
    for (std::string_view piece; !(piece = take_piece(cursor, kChunkBytes)).empty();) {
      watch.check_stop();
      hash.add(piece.data(), piece.size());
      const std::vector<std::int32_t> tokens = tokenizer.encode(piece);
      out.write_tokens(tokens, token_bytes);
      entry.tokens += tokens.size();
    }
    entries.push_back(entry);
  }
  if (hash.hex() != source.hash) {
    throw std::runtime_error("[data] '" + source.path +
                             "' has changed while it was read; start again when it is complete");
  }
  return entries;
}

void write_index(const Index& index, TokenWriter& out) {
  const std::uint64_t begin = out.size();
  out.write_number(index.size());
  for (const auto& source : index) {
    out.write_number(source.size());
    for (const IndexEntry& entry : source) {
      for (const std::uint64_t number : {entry.held_out, entry.bytes, entry.tokens}) out.write_number(number);
    }
  }
  out.write_number(begin);
}

struct Corpus {
  const std::vector<Source>& sources;
  const Tokenizer& tokenizer;
  double held_out;
  const std::string& key;
  const TextWatch& watch;
};

// Writes all of a cache file.
Index write_tokens(const Corpus& corpus, TokenWriter& out) {
  const int token_bytes = token_bytes_for(corpus.tokenizer.vocab_size());
  const std::string start = header(corpus.key, token_bytes);
  out.write(start.data(), start.size());
  Index index;
  for (const Source& source : corpus.sources) {
    index.push_back(write_source(source, corpus.tokenizer, corpus.held_out, token_bytes, out, corpus.watch));
  }
  write_index(index, out);
  out.sync();
  const std::string hash = out.hash();
  out.write(hash.data(), hash.size());
  out.sync();
  return index;
}

TokenizedCorpus opened(const Index& index, const Corpus& corpus, TokenWriter& out, const std::string& name) {
  return corpus_of(
      index, std::make_shared<TokenFile>(out.release(), name, token_bytes_for(corpus.tokenizer.vocab_size()),
                                         kHeaderBytes));
}

Descriptor made_or_refused(int file) {
  if (file < 0) throw CannotWrite(std::strerror(errno));
  return Descriptor(file);
}

bool is_left_over(const std::string& name) {
  return name.starts_with("tokens-") && name.size() > kSuffixBytes &&
         name.substr(0, name.size() - kSuffixBytes).ends_with(".bin");
}

// What a worker that was killed has left. Who still writes holds a lock.
void remove_left_overs(const std::string& cache_dir) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(cache_dir, ignored)) {
    if (!is_left_over(entry.path().filename()) || !entry.is_regular_file(ignored)) continue;
    const Descriptor file(::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
    if (file.get() >= 0 && ::flock(file.get(), LOCK_EX | LOCK_NB) == 0) ::unlink(entry.path().c_str());
  }
}

// A locked file beside `path`, whose name it sets. Another worker may have taken it for a left-over before it
// was locked, and removed it.
Descriptor open_beside(const std::string& path, std::string& beside) {
  for (int tries = 0; tries < kMaxTries; ++tries) {
    beside = path + ".XXXXXX";
    Descriptor file = made_or_refused(::mkostemp(beside.data(), O_CLOEXEC));
    ::flock(file.get(), LOCK_EX);
    struct stat info {};
    if (::fstat(file.get(), &info) == 0 && info.st_nlink > 0) return file;
  }
  throw CannotWrite("it is removed as fast as it is made");
}

TokenizedCorpus write_cache(const Corpus& corpus, const std::string& path) {
  std::string beside;
  TokenWriter out(open_beside(path, beside));
  try {
    const Index index = write_tokens(corpus, out);
    if (::rename(beside.c_str(), path.c_str()) != 0) throw CannotWrite(std::strerror(errno));
    return opened(index, corpus, out, path);
  } catch (...) {
    ::unlink(beside.c_str());
    throw;
  }
}

TokenizedCorpus write_without_a_name(const Corpus& corpus) {
  std::error_code ignored;
  const std::string folder = fs::temp_directory_path(ignored);
  try {
    std::string path = folder + "/thinwire-tokens-XXXXXX";
    TokenWriter out(made_or_refused(::mkostemp(path.data(), O_CLOEXEC)));
    ::unlink(path.c_str());
    const Index index = write_tokens(corpus, out);
    return opened(index, corpus, out, "a temporary file in " + folder);
  } catch (const CannotWrite& failure) {
    corpus.watch.warn("the tokens of the text cannot be kept in " + folder + " (" + failure.what() +
                      "); they stand in memory");
  }
  TokenWriter out(made_or_refused(::memfd_create("thinwire-tokens", MFD_CLOEXEC)));
  const Index index = write_tokens(corpus, out);
  return opened(index, corpus, out, "memory");
}

// Takes numbers off a file; `ok` turns false where there are too few.
class NumberReader {
 public:
  NumberReader(int file, std::uint64_t begin, std::uint64_t end) : file_(file), at_(begin), end_(end) {}

  std::uint64_t number() {
    std::uint64_t value = 0;
    ok = ok && at_ + sizeof value <= end_ && read_fully(file_, at_, &value, sizeof value);
    at_ += sizeof value;
    return ok ? value : 0;
  }
  // A count of things that take at least `numbers` numbers each.
  std::uint64_t count(std::uint64_t numbers) {
    const std::uint64_t value = number();
    ok = ok && value <= (end_ - at_) / (numbers * sizeof value);
    return ok ? value : 0;
  }
  bool at_end() const { return at_ == end_; }

  bool ok = true;

 private:
  int file_;
  std::uint64_t at_, end_;
};

bool ends_with_its_hash(int file, std::uint64_t size) {
  std::string buffer(kReadBytes, '\0');
  RunningHash hash;
  for (std::uint64_t at = 0; at < size - kHashBytes;) {
    const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), size - kHashBytes - at));
    if (!read_fully(file, at, buffer.data(), n)) return false;
    hash.add(buffer.data(), n);
    at += n;
  }
  std::array<char, kHashBytes> expected;
  return read_fully(file, size - kHashBytes, expected.data(), kHashBytes) &&
         hash.hex() == std::string_view(expected.data(), kHashBytes);
}

std::optional<Index> read_index(int file, std::uint64_t begin, std::uint64_t end) {
  NumberReader in(file, begin, end);
  Index index(in.count(1));
  for (auto& source : index) {
    source.resize(in.count(3));
    for (IndexEntry& entry : source) entry = {in.number(), in.number(), in.number()};
  }
  if (!in.ok || !in.at_end()) return std::nullopt;
  return index;
}

// The bytes of a token as the header says it; 0 if it is not the header of a cache of this corpus.
int read_header(int file, const std::string& key) {
  std::string found(kHeaderBytes, '\0');
  if (!read_fully(file, 0, found.data(), found.size())) return 0;
  for (const int token_bytes : {1, 2, 4}) {
    if (found == header(key, token_bytes)) return token_bytes;
  }
  return 0;
}

}  // namespace

std::string corpus_key(const std::vector<Source>& sources, const Tokenizer& tokenizer, double held_out) {
  std::string parts(kKeyStart);
  append_number(parts, XXH3_64bits(&held_out, sizeof held_out));
  parts += xxh3_128_hex(tokenizer.to_bytes());
  for (const Source& source : sources) parts += source.hash;
  return xxh3_128_hex(parts);
}

std::optional<TokenizedCorpus> read_token_cache(const std::string& path, const std::string& key) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat info {};
  if (file.get() < 0 || ::fstat(file.get(), &info) != 0) return std::nullopt;
  if (!S_ISREG(info.st_mode))
    throw std::runtime_error("[data] " + path + " is not a plain file; remove it, it is made anew");
  const auto size = static_cast<std::uint64_t>(info.st_size);
  if (size < kHeaderBytes + kTrailerBytes) return std::nullopt;
  const int token_bytes = read_header(file.get(), key);
  if (token_bytes == 0 || !ends_with_its_hash(file.get(), size)) return std::nullopt;

  const std::uint64_t end = size - kTrailerBytes;
  std::uint64_t begin = 0;
  if (!read_fully(file.get(), end, &begin, sizeof begin) || begin < kHeaderBytes || begin > end)
    return std::nullopt;
  const std::optional<Index> index = read_index(file.get(), begin, end);
  if (!index) return std::nullopt;
  std::uint64_t tokens = 0;
  for (const auto& source : *index) {
    for (const IndexEntry& entry : source) tokens += entry.tokens;
  }
  if (tokens != (begin - kHeaderBytes) / static_cast<std::uint64_t>(token_bytes)) return std::nullopt;
  return corpus_of(*index, std::make_shared<TokenFile>(std::move(file), path, token_bytes, kHeaderBytes));
}

TokenizedCorpus tokenize_cached(const std::vector<Source>& sources, const Tokenizer& tokenizer,
                                double held_out, const std::string& cache_dir, const TextWatch& watch) {
  const std::string key = corpus_key(sources, tokenizer, held_out);
  const Corpus corpus{sources, tokenizer, held_out, key, watch};
  const std::string path = cache_dir + "/tokens-" + key + ".bin";
  if (!cache_dir.empty()) {
    std::error_code ignored;  // without the folder there is no cache
    fs::create_directories(cache_dir, ignored);
    remove_left_overs(cache_dir);
    if (auto cached = read_token_cache(path, key)) return *std::move(cached);
  }
  std::uint64_t bytes = 0;
  for (const Source& source : sources) bytes += source.bytes;
  if (bytes >= kLongTextBytes) watch.notice("making tokens of " + text_size(bytes) + " of text");
  if (cache_dir.empty()) return write_without_a_name(corpus);
  try {
    return write_cache(corpus, path);
  } catch (const CannotWrite& failure) {
    watch.warn("the tokens of the text cannot be kept in " + cache_dir + " (" + failure.what() +
               "); the run goes on without, the next start makes them again");
  }
  return write_without_a_name(corpus);
}

}  // namespace thinwire::trainer
