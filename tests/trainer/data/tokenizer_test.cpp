#include "trainer/data/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>

#include "tests/trainer/temporary_folder.h"
#include "trainer/format/file_io.h"
#include "trainer/random.h"

namespace thinwire::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using trainer::DataOptions;
using trainer::Tokenizer;
using trainer::uniform_below;

// Words of two letters over a small alphabet: enough pairs to merge.
std::string some_text(std::size_t lines) {
  auto stream = trainer::random_stream(1, "text");
  std::string text;
  for (std::size_t line = 0; line < lines; ++line) {
    for (int word = 0; word < 8; ++word) {
      for (int letter = 0; letter < 3; ++letter) text += static_cast<char>('a' + uniform_below(stream, 9));
      text += word < 7 ? ' ' : '\n';
    }
  }
  return text;
}

DataOptions bpe_options(const TemporaryFolder& folder) {
  write_bytes(folder / "text", some_text(400));
  DataOptions options;
  options.path = {folder / "text"};
  options.tokenizer = "bpe";
  options.vocab_size = 400;
  return options;
}

const std::vector<std::string> kTexts = {"",
                                         "abc def",
                                         "a\nb\n\n",
                                         "  two  spaces ",
                                         " ",
                                         "\n",
                                         "\t\r\n",
                                         "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80",
                                         std::string("nul\0byte", 8),
                                         "\xff\xfe bad \xc3",
                                         "under\xe2\x96\x81score",
                                         "<0x0A> <unk> <s>",
                                         "\xed\xa0\x80",
                                         "\xc0\xaf",
                                         "\xf4\x90\x80\x80"};

void expect_round_trips(const Tokenizer& tokenizer) {
  for (const std::string& text : kTexts) {
    const auto tokens = tokenizer.encode(text);
    for (const std::int32_t token : tokens) {
      EXPECT_GE(token, 0);
      EXPECT_LT(token, tokenizer.vocab_size());
    }
    EXPECT_EQ(tokenizer.decode(tokens), text) << testing::PrintToString(text);
  }
}

TEST(ByteTokenizer, IsTheIdentityOnBytes) {
  const auto tokenizer = trainer::make_tokenizer(DataOptions());
  EXPECT_EQ(tokenizer->vocab_size(), 256);
  EXPECT_EQ(tokenizer->encode("A\xff\n"), (std::vector<std::int32_t>{65, 255, 10}));
  expect_round_trips(*tokenizer);
  EXPECT_THAT(message_of([&] { tokenizer->decode(std::vector<std::int32_t>{256}); }), HasSubstr("found 256"));
}

TEST(Bpe, RoundTripsEveryStringOfBytes) {
  const TemporaryFolder folder;
  const auto tokenizer = trainer::make_tokenizer(bpe_options(folder));
  EXPECT_EQ(tokenizer->vocab_size(), 400);
  expect_round_trips(*tokenizer);
  auto stream = trainer::random_stream(2, "bytes");
  std::string noise(5000, '\0');
  for (char& c : noise) c = static_cast<char>(uniform_below(stream, 256));
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(noise)), noise);
}

TEST(Bpe, NeedsFewerTokensThanBytesAndKeepsNewlinesApart) {
  const TemporaryFolder folder;
  const auto tokenizer = trainer::make_tokenizer(bpe_options(folder));
  const std::string text = some_text(20);
  EXPECT_LT(tokenizer->encode(text).size(), 0.6 * static_cast<double>(text.size()));
  const auto newline = tokenizer->encode("\n");
  ASSERT_EQ(newline.size(), 1u);
  const auto tokens = tokenizer->encode(text);
  EXPECT_EQ(std::count(tokens.begin(), tokens.end(), newline[0]), 20);
}

TEST(Bpe, IsTheSameForTheSameText) {
  const TemporaryFolder folder;
  const DataOptions options = bpe_options(folder);
  EXPECT_TRUE(trainer::make_tokenizer(options)->to_bytes() == trainer::make_tokenizer(options)->to_bytes());
}

TEST(Bpe, DoesNotLearnFromHeldOutText) {
  const TemporaryFolder folder;
  DataOptions options = bpe_options(folder);
  const std::string text = some_text(400);
  options.held_out = 0.3;
  const std::string before = trainer::make_tokenizer(options)->to_bytes();
  const std::string other(200, 'Z');
  const auto changed_at = [&](std::size_t position) {
    write_bytes(options.path[0], std::string(text).replace(position, other.size(), other));
    return trainer::make_tokenizer(options)->to_bytes() != before;
  };
  EXPECT_FALSE(changed_at(text.size() / 2));  // in the middle of a stretch held out
  EXPECT_TRUE(changed_at(100));
}

TEST(Bpe, OfATinyTextIsSmallerThanAskedFor) {
  const TemporaryFolder folder;
  DataOptions options;
  write_bytes(folder / "text", "aa aa\nab ab\nba\nbb bb\n");
  options.path = {folder / "text"};
  options.tokenizer = "bpe";
  const auto tokenizer = trainer::make_tokenizer(options);
  EXPECT_LT(tokenizer->vocab_size(), 300);
  expect_round_trips(*tokenizer);
}

TEST(Bpe, RefusesAVocabularyTooSmallForTheBytes) {
  const TemporaryFolder folder;
  DataOptions options = bpe_options(folder);
  options.vocab_size = 100;
  EXPECT_THAT(message_of([&] { trainer::make_tokenizer(options); }),
              HasSubstr("data.vocab_size: expected at least 258"));
}

// 300 characters, the frequent ones first, and no space.
std::string characters_without_spaces() {
  auto stream = trainer::random_stream(3, "text");
  std::string text;
  for (int i = 0; i < 30000; ++i) {
    const auto character =
        static_cast<unsigned>(0x4e00 + uniform_below(stream, 1 + uniform_below(stream, 300)));
    text += {static_cast<char>(0xe0 | character >> 12), static_cast<char>(0x80 | (character >> 6 & 63)),
             static_cast<char>(0x80 | (character & 63))};
    if (i % 40 == 39) text += '\n';
  }
  return text;
}

TEST(Bpe, LeavesTheRarestCharactersToTheBytesWhereThereAreMoreThanItHasRoomFor) {
  const TemporaryFolder folder;
  DataOptions options = bpe_options(folder);
  write_bytes(folder / "text", characters_without_spaces());
  std::vector<std::string> warnings;
  const trainer::TextWatch watch{
      .on_notice = {}, .on_warning = [&](const std::string& what) { warnings.push_back(what); }, .stop = {}};
  const auto tokenizer = trainer::make_tokenizer(options, watch);  // 400 pieces for 257 and 300 characters
  EXPECT_LE(tokenizer->vocab_size(), 400);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(characters_without_spaces())), characters_without_spaces());
  EXPECT_LT(tokenizer->encode(characters_without_spaces()).size(), 0.6 * 90000);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_THAT(warnings[0], AllOf(HasSubstr("data.vocab_size = 400"), HasSubstr("go as bytes")));
  options.vocab_size = 1024;
  trainer::make_tokenizer(options, watch);
  EXPECT_EQ(warnings.size(), 1u) << "there is room for all";
}

TEST(Bpe, RefusesTextWithoutACharacterToLearn) {
  const TemporaryFolder folder;
  DataOptions options = bpe_options(folder);
  write_bytes(folder / "text", std::string(5000, '\n'));
  EXPECT_THAT(message_of([&] { trainer::make_tokenizer(options); }),
              AllOf(HasSubstr("data.path"), HasSubstr("no line")));
}

TEST(Bpe, BySourceNeedsAllSourcesWhereItIsTrained) {
  const TemporaryFolder folder;
  DataOptions options = bpe_options(folder);
  options.shards = "by_source";
  options.path.push_back(folder / "elsewhere");
  EXPECT_THAT(message_of([&] { trainer::make_tokenizer(options); }),
              AllOf(HasSubstr(folder / "elsewhere"), HasSubstr("give data.tokenizer")));
}

// Runs know their tokens by it.
TEST(Bpe, IsWhatItWas) {
  const TemporaryFolder folder;
  EXPECT_EQ(trainer::xxh3_128_hex(trainer::make_tokenizer(bpe_options(folder))->to_bytes()),
            "27e3160c15ca7142709481ce4fc3f149");
}

TEST(StoredTokenizer, GivesTheSameTokens) {
  const TemporaryFolder folder;
  for (const auto& made :
       {trainer::make_tokenizer(DataOptions()), trainer::make_tokenizer(bpe_options(folder))}) {
    const auto again = trainer::tokenizer_from_bytes(made->to_bytes());
    EXPECT_TRUE(again->to_bytes() == made->to_bytes());
    const std::string text = some_text(5) + "\xff\n";
    EXPECT_EQ(again->encode(text), made->encode(text));
  }
}

TEST(StoredTokenizer, RefusesOtherBytes) {
  EXPECT_THAT(message_of([] { trainer::tokenizer_from_bytes(""); }),
              HasSubstr("expected a stored tokenizer"));
  EXPECT_THAT(message_of([] { trainer::tokenizer_from_bytes("thinwire tokenizer: words\n"); }),
              HasSubstr("found 'words'"));
  EXPECT_THAT(message_of([] { trainer::tokenizer_from_bytes("thinwire tokenizer: sentencepiece\nrubbish"); }),
              HasSubstr("not a SentencePiece model"));
}

TEST(TokenizerFile, IsASentencePieceModel) {
  const TemporaryFolder folder;
  DataOptions options = bpe_options(folder);
  const std::string stored = trainer::make_tokenizer(options)->to_bytes();
  write_bytes(folder / "spm.model", stored.substr(stored.find('\n') + 1));
  options.tokenizer = folder / "spm.model";
  EXPECT_TRUE(trainer::make_tokenizer(options)->to_bytes() == stored);
  write_bytes(folder / "spm.model", "rubbish");
  EXPECT_THAT(message_of([&] { trainer::make_tokenizer(options); }), HasSubstr("spm.model"));
  options.tokenizer = "btyes";
  EXPECT_THAT(
      message_of([&] { trainer::make_tokenizer(options); }),
      AllOf(HasSubstr("expected bytes, bpe, a SentencePiece model"), HasSubstr("found no file 'btyes'")));
}

TEST(TokenizerFile, IsThatOfARun) {
  const TemporaryFolder folder;
  DataOptions options = bpe_options(folder);
  const std::string stored = trainer::make_tokenizer(options)->to_bytes();
  std::filesystem::create_directories(folder / "run/checkpoints/step-20/worker-1");
  options.tokenizer = folder / "run";
  EXPECT_THAT(message_of([&] { trainer::make_tokenizer(options); }),
              HasSubstr("which has no file `tokenizer`"));
  write_bytes(folder / "run/tokenizer", stored);
  for (const std::string path :
       {"run", "run/", "run/tokenizer", "run/checkpoints/step-20", "run/checkpoints/step-20/worker-1"}) {
    options.tokenizer = folder / path;
    EXPECT_TRUE(trainer::make_tokenizer(options)->to_bytes() == stored) << path;
  }
}

TEST(TokenizerFile, RefusesAPipeWithoutWaiting) {
  const TemporaryFolder folder;
  DataOptions options = bpe_options(folder);
  options.tokenizer = folder / "pipe";
  ASSERT_EQ(::mkfifo(options.tokenizer.c_str(), 0600), 0);
  EXPECT_THAT(message_of([&] { trainer::make_tokenizer(options); }), HasSubstr(options.tokenizer));
}

TEST(Bpe, RefusesAMissingOrEmptyCorpusByName) {
  const TemporaryFolder folder;
  DataOptions options = bpe_options(folder);
  options.path = {folder / "nowhere"};
  EXPECT_THAT(message_of([&] { trainer::make_tokenizer(options); }), HasSubstr(folder / "nowhere"));
}

}  // namespace
}  // namespace thinwire::test
