#include "trainer/data/corpus.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/trainer/data/string_text.h"
#include "tests/trainer/temporary_folder.h"
#include "trainer/format/file_io.h"

namespace thinwire::test {
namespace {

using namespace std::string_literals;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using trainer::AcceptedText;
using trainer::DataOptions;
using trainer::Source;
using trainer::split_text;
using trainer::Stretch;

std::string numbered_lines(int lines) {
  std::string text;
  for (int line = 0; line < lines; ++line) text += "line number " + std::to_string(line) + "\n";
  return text;
}

std::vector<Stretch> split(const std::string& text, double share) {
  return split_text(StringText(text), share);
}

std::uint64_t held_out_bytes(const std::vector<Stretch>& stretches) {
  std::uint64_t bytes = 0;
  for (const Stretch& stretch : stretches) bytes += stretch.held_out ? stretch.size() : 0;
  return bytes;
}

void expect_whole(const std::vector<Stretch>& stretches, std::size_t size) {
  std::uint64_t end = 0;
  for (const Stretch& stretch : stretches) {
    EXPECT_EQ(stretch.begin, end);
    EXPECT_LT(stretch.begin, stretch.end);
    end = stretch.end;
  }
  EXPECT_EQ(end, size);
}

TEST(SplitText, LosesNothingAndHoldsOutTheShare) {
  for (const int lines : {1, 2, 3, 10, 1000, 20000}) {
    for (const double share : {0.0, 0.02, 0.1, 0.5, 0.9}) {
      const std::string text = numbered_lines(lines);
      const std::vector<Stretch> stretches = split(text, share);
      expect_whole(stretches, text.size());
      const auto held_out = static_cast<double>(held_out_bytes(stretches));
      EXPECT_EQ(held_out == 0, share == 0) << lines << " lines, share " << share;
      if (lines < 1000) continue;  // a line is more than the share
      EXPECT_NEAR(held_out / static_cast<double>(text.size()), share, 0.01) << lines << " lines";
    }
  }
}

// Checkpoints and caches rely on it: what was held out stays held out.
TEST(SplitText, IsWhatItWas) {
  std::string borders;
  for (const double share : {0.02, 0.1}) {
    for (const std::string& text : {numbered_lines(30000), std::string(200000, 'x') + numbered_lines(3)}) {
      for (const Stretch& stretch : split(text, share)) borders += std::to_string(stretch.begin) + " ";
    }
  }
  EXPECT_EQ(trainer::xxh3_128_hex(borders), "2fb8d794d7be2bfdff1af58536c3ca22");
}

TEST(SplitText, CutsAtLines) {
  const std::string text = numbered_lines(5000);
  for (const Stretch& stretch : split(text, 0.1)) {
    EXPECT_EQ(text.substr(stretch.begin, 12), "line number ");
    EXPECT_EQ(text[stretch.end - 1], '\n');
  }
}

TEST(SplitText, RepresentsASortedText) {
  const std::string text = numbered_lines(100000);
  const std::vector<Stretch> stretches = split(text, 0.1);
  // Every tenth of the text gives about a tenth of what is held out.
  std::vector<double> held_out(10);
  for (const Stretch& stretch : stretches) {
    if (stretch.held_out)
      held_out.at(10 * stretch.begin / text.size()) += static_cast<double>(stretch.size());
  }
  const double tenth = static_cast<double>(held_out_bytes(stretches)) / 10;
  for (const double bytes : held_out) EXPECT_NEAR(bytes, tenth, 0.3 * tenth);
}

TEST(SplitText, CutsTextWithoutLinesBetweenCharacters) {
  std::string text;
  for (int i = 0; i < 30000; ++i) text += "\xe2\x82\xac";
  for (const Stretch& stretch : split(text, 0.2)) EXPECT_EQ(stretch.begin % 3, 0u);
  expect_whole(split(text, 0.2), text.size());
  // Continuation bytes alone have no character start.
  const std::string broken(50000, '\x80');
  expect_whole(split(broken, 0.2), broken.size());
}

TEST(SplitText, RefusesASharePastTheText) {
  EXPECT_THROW(split("text", 1), std::invalid_argument);
  EXPECT_THROW(split("text", -0.1), std::invalid_argument);
}

// The rule on text that is all in memory: the first line start from `bytes` on, or if that is further than
// 4 KiB, the first character start.
std::size_t end_of_piece(std::string_view text, std::size_t bytes) {
  if (bytes >= text.size()) return text.size();
  const std::size_t newline = text.substr(0, bytes + 4096).find('\n', bytes - 1);
  if (newline != std::string_view::npos) return newline + 1;
  std::size_t end = bytes;
  while (end < text.size() && end < bytes + 3 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80)
    ++end;
  return end;
}

TEST(TakePiece, CutsAtLinesAsIfTheTextWereInMemory) {
  std::string mixed;
  for (int i = 0; i < 60; ++i)
    mixed += std::string(static_cast<std::size_t>(i * i * 7), 'x') + "\n\xe2\x82\xac";
  for (const std::string& text :
       {numbered_lines(30000), std::string(700000, 'x'), std::string(300000, '\x80'), mixed, ""s, "\n"s}) {
    for (const std::size_t bytes : {1u, 5000u, 65536u}) {
      if (bytes == 1 && text.size() > 100000) continue;
      const StringText whole(text);
      trainer::TextCursor cursor(whole, 0, text.size());
      std::string_view left = text;
      for (std::string_view piece; !(piece = take_piece(cursor, bytes)).empty();) {
        ASSERT_EQ(piece.size(), std::max<std::size_t>(1, end_of_piece(left, bytes)));
        ASSERT_TRUE(left.starts_with(piece));
        left.remove_prefix(piece.size());
      }
      EXPECT_TRUE(left.empty());
    }
  }
}

class ReadSources : public testing::Test {
 protected:
  // Reads one file; what it is warned of stays in warnings_.
  std::vector<Source> read(const std::string& bytes, AcceptedText accepted) {
    write_bytes(folder_ / "text", bytes);
    return read(accepted);
  }
  std::vector<Source> read(AcceptedText accepted) {
    warnings_.clear();
    std::vector<Source> sources = trainer::open_sources({folder_.path()});
    trainer::read_sources(sources, accepted,
                          {.on_notice = {},
                           .on_warning = [this](const std::string& what) { warnings_.push_back(what); },
                           .stop = {}});
    return sources;
  }

  TemporaryFolder folder_;
  std::vector<std::string> warnings_;
};

TEST_F(ReadSources, SaysWhatTheTextIs) {
  const std::vector<Source> sources = read(numbered_lines(100000), AcceptedText::kUtf8);
  EXPECT_EQ(sources.at(0).bytes, numbered_lines(100000).size());
  EXPECT_EQ(sources.at(0).hash, trainer::xxh3_128_hex(numbered_lines(100000)));
  EXPECT_TRUE(warnings_.empty());
}

TEST_F(ReadSources, RefusesOtherEncodingsForATokenizerOfCharacters) {
  EXPECT_THAT(message_of([&] { read("caf\xe9\n", AcceptedText::kUtf8); }),
              AllOf(HasSubstr("/text'"), HasSubstr("not UTF-8 from byte 3 on"), HasSubstr("iconv")));
  read("caf\xe9\n", AcceptedText::kAnyEncoding);
  EXPECT_THAT(warnings_, ElementsAre(AllOf(HasSubstr("byte 3"), HasSubstr("learned as bytes"))));
}

TEST_F(ReadSources, RefusesWhatIsNoTextForBytesAsWell) {
  for (const AcceptedText accepted : {AcceptedText::kUtf8, AcceptedText::kAnyEncoding}) {
    EXPECT_THAT(message_of([&] { read("\xff\xfeh\0i\0"s, accepted); }),
                AllOf(HasSubstr("/text'"), HasSubstr("is UTF-16")));
    EXPECT_THAT(message_of([&] { read("some\0thing"s, accepted); }), HasSubstr("a NUL at byte 4"));
    EXPECT_THAT(message_of([&] { read("\x89PNG\r\n\x1a\n\0"s, accepted); }),
                AllOf(HasSubstr("/text'"), HasSubstr("is a PNG picture, not text")));
  }
}

TEST_F(ReadSources, OfARunThatHasBegunTakesAllWithAWarning) {
  for (const std::string& bytes : {"\xff\xfeh\0i\0"s, "some\0thing"s, "\x89PNG\r\n\x1a\n\0"s, "caf\xe9"s}) {
    read(bytes, AcceptedText::kAny);
    EXPECT_EQ(warnings_.size(), 1u) << testing::PrintToString(bytes);
  }
}

TEST_F(ReadSources, WarnsOfTheFirstFilesAndCountsTheOthers) {
  for (int i = 0; i < 9; ++i) write_bytes(folder_ / std::to_string(i), "caf\xe9");
  read(AcceptedText::kAnyEncoding);
  ASSERT_EQ(warnings_.size(), 4u);
  EXPECT_THAT(warnings_.back(), HasSubstr("6 more files"));
}

TEST_F(ReadSources, StopsWhenAsked) {
  write_bytes(folder_ / "text", "text");
  std::vector<Source> sources = trainer::open_sources({folder_.path()});
  std::stop_source stop;
  stop.request_stop();
  const trainer::TextWatch watch{.on_notice = {}, .on_warning = {}, .stop = stop.get_token()};
  EXPECT_THAT(message_of([&] { trainer::read_sources(sources, AcceptedText::kUtf8, watch); }),
              HasSubstr("interrupted"));
}

TEST(AcceptedText, FollowsTheTokenizer) {
  DataOptions options;
  EXPECT_EQ(accepted_text(options, false), AcceptedText::kAnyEncoding);
  for (const std::string tokenizer : {"bpe", "spm.model"}) {
    options.tokenizer = tokenizer;
    EXPECT_EQ(accepted_text(options, false), AcceptedText::kUtf8);
    EXPECT_EQ(accepted_text(options, true), AcceptedText::kAny);
  }
}

TEST(OpenSources, BySourceOpensAWorkersOwnAlone) {
  const TemporaryFolder folder;
  DataOptions options;
  options.shards = "by_source";
  for (const std::string name : {"a", "b", "c"}) options.path.push_back(folder / name);
  write_bytes(folder / "b", "mine");
  const std::vector<Source> sources = trainer::open_sources(options, {.worker = 1, .workers = 3, .seed = 0});
  ASSERT_EQ(sources.size(), 3u);
  EXPECT_EQ(sources[0].text, nullptr);
  EXPECT_EQ(sources[1].bytes, 4u);
  EXPECT_EQ(sources[2].text, nullptr);
  EXPECT_THAT(message_of([&] { trainer::open_sources(options, {.worker = 0, .workers = 3, .seed = 0}); }),
              HasSubstr(folder / "a"));
  EXPECT_THAT(message_of([] { trainer::open_sources({}); }), HasSubstr("data.path"));
}

}  // namespace
}  // namespace thinwire::test
