#include "trainer/data/token_cache.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

#include "tests/trainer/temporary_folder.h"
#include "trainer/data/byte_tokenizer.h"

namespace thinwire::test {
namespace {

using trainer::Source;
using trainer::TokenizedCorpus;

// Counts how often it is asked.
class CountingTokenizer final : public trainer::Tokenizer {
 public:
  std::int64_t vocab_size() const override { return 256; }
  std::vector<std::int32_t> encode(std::string_view text) const override {
    ++calls;
    return trainer::ByteTokenizer().encode(text);
  }
  std::string decode(std::span<const std::int32_t> tokens) const override {
    return trainer::ByteTokenizer().decode(tokens);
  }
  std::string to_bytes() const override { return "counting"; }

  mutable int calls = 0;
};

std::vector<Source> some_sources() {
  std::string text;
  for (int line = 0; line < 500; ++line) text += "some text " + std::to_string(line) + "\n";
  return {{"a", text}, {"b", "other text\n" + text}};
}

std::string only_file(const std::string& folder) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) files.push_back(entry.path());
  EXPECT_EQ(files.size(), 1u);
  return files.at(0);
}

TEST(TokenCache, GivesTheTokensWithoutTokenising) {
  const TemporaryFolder folder;
  const CountingTokenizer tokenizer;
  const TokenizedCorpus first = tokenize_cached(some_sources(), tokenizer, 0.1, folder / "cache");
  const int calls = tokenizer.calls;
  EXPECT_GT(calls, 0);
  EXPECT_EQ(tokenize_cached(some_sources(), tokenizer, 0.1, folder / "cache"), first);
  EXPECT_EQ(tokenizer.calls, calls);
  ASSERT_EQ(first.train.size(), 2u);
  EXPECT_EQ(first.held_out.size(), first.held_out_bytes);
  const std::size_t all = some_sources()[0].text.size() + some_sources()[1].text.size();
  EXPECT_EQ(first.train[0].size() + first.train[1].size() + first.held_out.size(), all);
}

TEST(TokenCache, IsOfOneTextOneTokenizerAndOneSplit) {
  const TemporaryFolder folder;
  const CountingTokenizer tokenizer;
  tokenize_cached(some_sources(), tokenizer, 0.1, folder.path());
  const auto tokenises = [&](const std::vector<Source>& sources, double held_out) {
    const int calls = tokenizer.calls;
    tokenize_cached(sources, tokenizer, held_out, folder.path());
    return tokenizer.calls > calls;
  };
  EXPECT_FALSE(tokenises(some_sources(), 0.1));
  EXPECT_TRUE(tokenises(some_sources(), 0.2));
  auto other = some_sources();
  other[1].text.back() = ' ';
  EXPECT_TRUE(tokenises(other, 0.1));
  // The same bytes cut into other sources are other data.
  auto moved = some_sources();
  moved[0].text += moved[1].text.substr(0, 11);
  moved[1].text.erase(0, 11);
  EXPECT_TRUE(tokenises(moved, 0.1));
  EXPECT_NE(tokenize(some_sources(), tokenizer, 0.1).key,
            tokenize(some_sources(), trainer::ByteTokenizer(), 0.1).key);
}

TEST(TokenCache, IsNotBelievedWhenChangedCutOrForeign) {
  const TemporaryFolder folder;
  const CountingTokenizer tokenizer;
  const TokenizedCorpus right = tokenize_cached(some_sources(), tokenizer, 0.1, folder.path());
  const std::string path = only_file(folder.path());
  const std::string whole = read_bytes(path);
  std::vector<std::string> broken = {"", "short", whole.substr(0, whole.size() - 1), whole + "x",
                                     std::string(4096, 'x')};
  for (std::size_t at = 0; at < whole.size(); at += 997) {
    broken.push_back(whole);
    broken.back()[at] = static_cast<char>(broken.back()[at] ^ 0x10);
  }
  for (const std::string& bytes : broken) {
    write_bytes(path, bytes);
    EXPECT_EQ(trainer::read_token_cache(path, right.key), std::nullopt);
    EXPECT_EQ(tokenize_cached(some_sources(), tokenizer, 0.1, folder.path()), right);
    EXPECT_EQ(read_bytes(path), whole) << "a broken cache is made again";
  }
  EXPECT_EQ(trainer::read_token_cache(path, std::string(32, '0')), std::nullopt);
}

TEST(TokenCache, MayBeMissing) {
  const TemporaryFolder folder;
  write_bytes(folder / "file", "not a folder");
  const CountingTokenizer tokenizer;
  const TokenizedCorpus corpus = tokenize_cached(some_sources(), tokenizer, 0.1, folder / "file");
  EXPECT_EQ(corpus, tokenize(some_sources(), tokenizer, 0.1));
  EXPECT_FALSE(write_token_cache(folder / "file/tokens", corpus));
}

TEST(TokenCache, SurvivesWorkersThatRaceForIt) {
  const TemporaryFolder folder;
  const trainer::ByteTokenizer tokenizer;
  const TokenizedCorpus expected = tokenize(some_sources(), tokenizer, 0.1);
  std::vector<TokenizedCorpus> found(4);
  {
    std::vector<std::jthread> workers;
    for (TokenizedCorpus& corpus : found) {
      workers.emplace_back([&] { corpus = tokenize_cached(some_sources(), tokenizer, 0.1, folder.path()); });
    }
  }
  for (const TokenizedCorpus& corpus : found) EXPECT_EQ(corpus, expected);
  EXPECT_EQ(trainer::read_token_cache(only_file(folder.path()), expected.key), expected);
}

}  // namespace
}  // namespace thinwire::test
