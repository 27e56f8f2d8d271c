#include "trainer/data/corpus.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/trainer/temporary_folder.h"

namespace thinwire::test {
namespace {

using testing::HasSubstr;
using trainer::split_text;
using trainer::TextSplit;

std::string numbered_lines(int lines) {
  std::string text;
  for (int line = 0; line < lines; ++line) text += "line number " + std::to_string(line) + "\n";
  return text;
}

std::size_t bytes_of(const std::vector<std::string_view>& parts) {
  std::size_t bytes = 0;
  for (const std::string_view part : parts) bytes += part.size();
  return bytes;
}

// Both parts together, in the order of the text.
std::string joined(TextSplit split) {
  std::vector<std::string_view> parts = split.train;
  parts.insert(parts.end(), split.held_out.begin(), split.held_out.end());
  std::sort(parts.begin(), parts.end(), [](auto a, auto b) { return a.data() < b.data(); });
  std::string text;
  for (const std::string_view part : parts) text += part;
  return text;
}

TEST(SplitText, LosesNothingAndHoldsOutTheShare) {
  for (const int lines : {1, 2, 3, 10, 1000, 20000}) {
    for (const double share : {0.0, 0.02, 0.1, 0.5, 0.9}) {
      const std::string text = numbered_lines(lines);
      const TextSplit split = split_text(text, share);
      EXPECT_EQ(joined(split), text) << lines << " lines, share " << share;
      EXPECT_EQ(split.held_out.empty(), share == 0) << lines << " lines, share " << share;
      const double held_out =
          static_cast<double>(bytes_of(split.held_out)) / static_cast<double>(text.size());
      if (lines < 1000) continue;  // a line is more than the share
      EXPECT_NEAR(held_out, share, 0.01) << lines << " lines";
    }
  }
}

TEST(SplitText, CutsAtLines) {
  const std::string text = numbered_lines(5000);
  for (const std::string_view part : split_text(text, 0.1).held_out) {
    EXPECT_TRUE(part.starts_with("line number "));
    EXPECT_TRUE(part.ends_with("\n"));
  }
}

TEST(SplitText, RepresentsASortedText) {
  const std::string text = numbered_lines(100000);
  const TextSplit split = split_text(text, 0.1);
  // Every tenth of the text gives about a tenth of what is held out.
  std::vector<double> held_out(10);
  for (const std::string_view part : split.held_out) {
    const auto start = static_cast<double>(part.data() - text.data());
    held_out.at(static_cast<std::size_t>(10 * start / static_cast<double>(text.size()))) +=
        static_cast<double>(part.size());
  }
  const double tenth = static_cast<double>(bytes_of(split.held_out)) / 10;
  for (const double bytes : held_out) EXPECT_NEAR(bytes, tenth, 0.3 * tenth);
}

TEST(SplitText, CutsTextWithoutLinesBetweenCharacters) {
  std::string text;
  for (int i = 0; i < 30000; ++i) text += "\xe2\x82\xac";
  const TextSplit split = split_text(text, 0.2);
  EXPECT_EQ(joined(split), text);
  for (const std::string_view part : split.held_out) EXPECT_EQ(part.size() % 3, 0u);
  // Continuation bytes alone have no character start.
  const std::string broken(50000, '\x80');
  EXPECT_EQ(joined(split_text(broken, 0.2)), broken);
}

TEST(SplitText, RefusesASharePastTheText) {
  EXPECT_THROW(split_text("text", 1), std::invalid_argument);
  EXPECT_THROW(split_text("text", -0.1), std::invalid_argument);
}

TEST(CutAtLines, LosesNothing) {
  for (const std::string& text :
       {numbered_lines(1000), std::string(30000, 'x'), std::string(), std::string("\n")}) {
    std::string again;
    for (const std::string_view piece : trainer::cut_at_lines(text, 5000)) {
      EXPECT_LE(piece.size(), 5000u + 4096u);
      again += piece;
    }
    EXPECT_EQ(again, text);
  }
}

TEST(ReadSources, ReadsAFoldersFilesInTheOrderOfTheirPaths) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder / "b/inner");
  std::filesystem::create_directories(folder / ".git");
  write_bytes(folder / "c", "third");
  write_bytes(folder / "b/inner/x", "second\n");
  write_bytes(folder / "a", "first");
  write_bytes(folder / ".hidden", "never");
  write_bytes(folder / ".git/x", "never");
  const auto sources = trainer::read_sources({folder.path(), folder / "c"});
  ASSERT_EQ(sources.size(), 2u);
  EXPECT_EQ(sources[0].text, "first\nsecond\nthird\n");
  EXPECT_EQ(sources[1].text, "third");
}

TEST(ReadSources, RefusesWhatHasNoTextByName) {
  const TemporaryFolder folder;
  write_bytes(folder / "empty", "");
  std::filesystem::create_directories(folder / "void");
  EXPECT_THAT(message_of([&] { trainer::read_sources({folder / "missing"}); }),
              AllOf(HasSubstr(folder / "missing"), HasSubstr("found nothing")));
  EXPECT_THAT(message_of([&] { trainer::read_sources({folder / "empty"}); }),
              HasSubstr("/empty' has no text"));
  EXPECT_THAT(message_of([&] { trainer::read_sources({folder / "void"}); }), HasSubstr("/void' has no text"));
  EXPECT_THAT(message_of([] { trainer::read_sources({}); }), HasSubstr("data.path"));
}

}  // namespace
}  // namespace thinwire::test
