#include "trainer/data/token_cache.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <filesystem>
#include <thread>

#include "tests/trainer/temporary_folder.h"
#include "trainer/data/byte_tokenizer.h"

namespace thinwire::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using trainer::Source;
using trainer::TokenizedCorpus;
using trainer::TokenStream;

// Counts how often it is asked. A token is a byte and `first`.
class CountingTokenizer final : public trainer::Tokenizer {
 public:
  explicit CountingTokenizer(std::int32_t first = 0) : first_(first) {}
  std::int64_t vocab_size() const override { return 256 + first_; }
  std::vector<std::int32_t> encode(std::string_view text) const override {
    ++calls;
    std::vector<std::int32_t> tokens = trainer::ByteTokenizer().encode(text);
    for (std::int32_t& token : tokens) token += first_;
    return tokens;
  }
  std::string decode(std::span<const std::int32_t>) const override { return {}; }
  std::string to_bytes() const override { return "counting"; }

  mutable int calls = 0;

 private:
  std::int32_t first_;
};

std::string some_text() {
  std::string text;
  for (int line = 0; line < 500; ++line) text += "some text " + std::to_string(line) + "\n";
  return text;
}

std::vector<std::int64_t> all_of(const TokenStream& stream) {
  std::vector<std::int64_t> tokens(stream.size());
  stream.read(0, tokens);
  return tokens;
}

std::vector<std::vector<std::int64_t>> tokens_of(const TokenizedCorpus& corpus) {
  std::vector<std::vector<std::int64_t>> tokens;
  for (const TokenStream& stream : corpus.train) tokens.push_back(all_of(stream));
  for (const TokenStream& stream : corpus.held_out) tokens.push_back(all_of(stream));
  return tokens;
}

class TokenCache : public testing::Test {
 protected:
  TokenCache() { write_sources(some_text(), "other text\n" + some_text()); }

  void write_sources(const std::string& a, const std::string& b) {
    write_bytes(folder_ / "a", a);
    write_bytes(folder_ / "b", b);
  }
  std::vector<Source> sources() {
    std::vector<Source> sources = trainer::open_sources({folder_ / "a", folder_ / "b"});
    trainer::read_sources(sources, trainer::AcceptedText::kUtf8, {});
    return sources;
  }
  TokenizedCorpus cached(const trainer::Tokenizer& tokenizer, double held_out = 0.1) {
    return tokenize_cached(sources(), tokenizer, held_out, cache_, watch_);
  }
  std::vector<std::string> cache_files() {
    std::vector<std::string> files;
    for (const auto& entry : fs::directory_iterator(cache_)) files.push_back(entry.path());
    return files;
  }

  TemporaryFolder folder_;
  std::string cache_ = folder_ / "cache";
  CountingTokenizer tokenizer_;
  std::vector<std::string> warnings_;
  trainer::TextWatch watch_{.on_notice = {},
                            .on_warning = [this](const std::string& what) { warnings_.push_back(what); },
                            .stop = {}};
};

TEST_F(TokenCache, GivesTheTokensWithoutTokenising) {
  const TokenizedCorpus first = cached(tokenizer_);
  const int calls = tokenizer_.calls;
  EXPECT_GT(calls, 0);
  EXPECT_EQ(tokens_of(cached(tokenizer_)), tokens_of(first));
  EXPECT_EQ(tokenizer_.calls, calls);
  ASSERT_EQ(first.train.size(), 2u);
  const std::string texts[] = {some_text(), "other text\n" + some_text()};
  for (std::size_t s = 0; s < 2; ++s) {
    EXPECT_EQ(first.held_out[s].size(), first.held_out_bytes[s]);
    std::string train, held_out;
    for (const trainer::Stretch& stretch : split_text(*sources()[s].text, 0.1))
      (stretch.held_out ? held_out : train) += texts[s].substr(stretch.begin, stretch.size());
    const auto read = [](const TokenStream& stream) {
      const auto tokens = all_of(stream);
      return std::string(tokens.begin(), tokens.end());
    };
    EXPECT_EQ(read(first.train[s]), train);
    EXPECT_EQ(read(first.held_out[s]), held_out);
  }
}

TEST_F(TokenCache, KeepsTokensOfAnyWidth) {
  std::uintmax_t before = 0;
  for (const std::int32_t first : {0, 1000, 70000}) {
    const CountingTokenizer tokenizer(first);
    std::vector<std::vector<std::int64_t>> expected = tokens_of(cached(tokenizer_));
    for (auto& tokens : expected) {
      for (std::int64_t& token : tokens) token += first;
    }
    fs::remove_all(cache_);
    EXPECT_EQ(tokens_of(cached(tokenizer)), expected) << "written";
    EXPECT_EQ(tokens_of(cached(tokenizer)), expected) << "read again";
    const std::uintmax_t bytes = fs::file_size(cache_files().at(0));
    EXPECT_GT(bytes, before) << "no wider than needed";
    before = bytes;
    fs::remove_all(cache_);
  }
}

TEST_F(TokenCache, IsOfOneTextOneTokenizerAndOneSplit) {
  cached(tokenizer_);
  const auto tokenises = [&](double held_out) {
    const int calls = tokenizer_.calls;
    cached(tokenizer_, held_out);
    return tokenizer_.calls > calls;
  };
  EXPECT_FALSE(tokenises(0.1));
  EXPECT_TRUE(tokenises(0.2));
  write_sources(some_text().append("x"), some_text());
  EXPECT_TRUE(tokenises(0.1));
  // The same bytes cut into other sources are other data.
  write_sources(some_text(), std::string("x").append(some_text()));
  EXPECT_TRUE(tokenises(0.1));
  EXPECT_NE(corpus_key(sources(), tokenizer_, 0.1), corpus_key(sources(), trainer::ByteTokenizer(), 0.1));
}

// Checkpoints hold it.
TEST_F(TokenCache, KeyIsWhatItWas) {
  EXPECT_EQ(corpus_key(sources(), trainer::ByteTokenizer(), 0.1), "8d90db66bcf5adcbcb0e3c96eb306e89");
}

TEST_F(TokenCache, IsNotBelievedWhenChangedCutOrForeign) {
  const auto right = tokens_of(cached(tokenizer_));
  const std::string key = corpus_key(sources(), tokenizer_, 0.1);
  const std::string path = cache_files().at(0);
  const std::string whole = read_bytes(path);
  std::vector<std::string> broken = {"", "short", whole.substr(0, whole.size() - 1), whole + "x",
                                     std::string(4096, 'x')};
  for (std::size_t at = 0; at < whole.size(); at += 997) {
    broken.push_back(whole);
    broken.back()[at] = static_cast<char>(broken.back()[at] ^ 0x10);
  }
  for (const std::string& bytes : broken) {
    write_bytes(path, bytes);
    EXPECT_EQ(trainer::read_token_cache(path, key), std::nullopt);
    EXPECT_EQ(tokens_of(cached(tokenizer_)), right);
    EXPECT_TRUE(read_bytes(path) == whole) << "a broken cache is made again";
  }
  EXPECT_EQ(trainer::read_token_cache(path, std::string(32, '0')), std::nullopt);
}

TEST_F(TokenCache, MayBeMissing) {
  const auto expected = tokens_of(cached(tokenizer_));
  write_bytes(folder_ / "file", "not a folder");
  cache_ = folder_ / "file";
  EXPECT_EQ(tokens_of(cached(tokenizer_)), expected);
  EXPECT_THAT(warnings_, testing::ElementsAre(HasSubstr("cannot be kept in " + cache_)));
}

TEST_F(TokenCache, RefusesAPipeWithoutWaiting) {
  cached(tokenizer_);
  const std::string path = cache_files().at(0);
  fs::remove(path);
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_THAT(message_of([&] { cached(tokenizer_); }), HasSubstr(path + " is not a plain file"));
}

TEST_F(TokenCache, RefusesATextThatHasChangedSinceItWasRead) {
  const std::vector<Source> before = sources();
  std::string other = some_text();
  other[100] = 'X';
  write_bytes(folder_ / "a", other);
  EXPECT_THAT(message_of([&] { tokenize_cached(before, tokenizer_, 0.1, cache_, watch_); }),
              HasSubstr("/a' has changed while it was read"));
  EXPECT_TRUE(cache_files().empty());
}

TEST_F(TokenCache, StopsWhenAskedAndLeavesNothing) {
  std::stop_source stop;
  stop.request_stop();
  watch_.stop = stop.get_token();
  const std::vector<Source> read = sources();
  EXPECT_THAT(message_of([&] { tokenize_cached(read, tokenizer_, 0.1, cache_, watch_); }),
              HasSubstr("interrupted"));
  EXPECT_TRUE(cache_files().empty());
}

TEST_F(TokenCache, RemovesWhatAKilledWorkerHasLeftAndNothingElse) {
  cached(tokenizer_);
  const std::string cache = cache_files().at(0);
  write_bytes(cache + ".Ab1xYz", "half");
  write_bytes(cache_ + "/tokens-0.bin.Ab1xYz", "of another text");
  write_bytes(cache_ + "/notes.txt.Ab1xYz", "a user's");
  write_bytes(cache + ".locked", "of a worker that writes");  // six letters, as mkstemp's
  const int writer = ::open((cache + ".locked").c_str(), O_RDONLY);
  ASSERT_EQ(::flock(writer, LOCK_EX | LOCK_NB), 0);
  cached(tokenizer_);  // the cache is there, and nothing is written
  EXPECT_FALSE(fs::exists(cache + ".Ab1xYz"));
  EXPECT_FALSE(fs::exists(cache_ + "/tokens-0.bin.Ab1xYz"));
  EXPECT_TRUE(fs::exists(cache_ + "/notes.txt.Ab1xYz"));
  EXPECT_TRUE(fs::exists(cache + ".locked"));
  EXPECT_TRUE(fs::exists(cache));
  ::close(writer);
}

TEST_F(TokenCache, SurvivesWorkersThatRaceForIt) {
  const auto expected = tokens_of(tokenize_cached(sources(), tokenizer_, 0.1, "", {}));
  for (int round = 0; round < 20; ++round) {
    fs::remove_all(cache_);
    std::vector<std::vector<std::vector<std::int64_t>>> found(4);
    {
      std::vector<std::jthread> workers;
      for (auto& corpus : found) {
        workers.emplace_back([&] {
          corpus = tokens_of(tokenize_cached(sources(), trainer::ByteTokenizer(), 0.1, cache_, watch_));
        });
      }
    }
    for (const auto& corpus : found) EXPECT_EQ(corpus, expected);
    EXPECT_EQ(cache_files().size(), 1u);
    EXPECT_TRUE(warnings_.empty());
  }
}

TEST(TokenWidth, IsTheNarrowestThatHoldsTheVocabulary) {
  EXPECT_EQ(trainer::token_bytes_for(256), 1);
  EXPECT_EQ(trainer::token_bytes_for(257), 2);
  EXPECT_EQ(trainer::token_bytes_for(65536), 2);
  EXPECT_EQ(trainer::token_bytes_for(65537), 4);
}

}  // namespace
}  // namespace thinwire::test
