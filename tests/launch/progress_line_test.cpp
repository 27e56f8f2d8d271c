#include "launch/progress_line.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "launch/quantity.h"

namespace thinwire::launch {
namespace {

const trainer::Progress kHalfWay{.step = 120,
                                 .total_steps = 600,
                                 .loss = 3.41204,
                                 .tokens_per_s = 12345,
                                 .wire_bits_per_s = 1.2e6,
                                 .seconds_left = 200};

// What `talk` writes to a file.
template <class Talk>
std::string written(Talk talk) {
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::tmpfile(), std::fclose);
  LineWriter writer(::fileno(file.get()));
  talk(writer);
  EXPECT_TRUE(writer.flush(std::chrono::seconds(20)));
  std::fseek(file.get(), 0, SEEK_END);
  std::string text(static_cast<std::size_t>(std::ftell(file.get())), '\0');
  std::rewind(file.get());
  EXPECT_EQ(std::fread(text.data(), 1, text.size(), file.get()), text.size());
  return text;
}

TEST(ProgressLine, GivesStepLossTokenRateWireRateAndTimeLeft) {
  EXPECT_EQ(format_progress(kHalfWay),
            "step 120/600  loss 3.4120  12.3k tokens/s  wire 1.2Mbit/s  left 3m20s");
}

TEST(ProgressLine, IsPlainLinesWhereThereIsNoTerminal) {
  const std::string text = written([](LineWriter& writer) {
    ProgressLine line(writer, false);
    line.show(kHalfWay);
    line.message("worker 1: warning: x");
    line.show(kHalfWay);
  });
  const std::string shown = format_progress(kHalfWay) + "\n";
  EXPECT_EQ(text, shown + "worker 1: warning: x\n" + shown);
}

TEST(ProgressLine, IsRewrittenOnATerminalAndMessagesStayAboveIt) {
  const std::string text = written([](LineWriter& writer) {
    ProgressLine line(writer, true);
    line.show(kHalfWay);
    line.message("note");
    line.show(kHalfWay);
  });
  const std::string shown = format_progress(kHalfWay), clear = "\r\033[K";
  EXPECT_EQ(text, shown + clear + "note\n" + shown + clear + shown + "\n");
}

TEST(Quantity, NumbersHaveThreeDigitsAndADecimalPrefix) {
  EXPECT_EQ(short_number(0), "0");
  EXPECT_EQ(short_number(0.5), "0.5");
  EXPECT_EQ(short_number(999.4), "999");
  EXPECT_EQ(short_number(999.6), "1k");
  EXPECT_EQ(short_number(12345), "12.3k");
  EXPECT_EQ(short_number(-2.5e6), "-2.5M");
  EXPECT_EQ(short_number(4.2e9), "4.2G");
  EXPECT_EQ(short_number(1e18), "1e+06T");
  EXPECT_EQ(short_number(std::nan("")), "-");
}

TEST(Quantity, DurationsHaveTheirTwoLargestUnits) {
  EXPECT_EQ(short_duration(0), "0s");
  EXPECT_EQ(short_duration(59.4), "59s");
  EXPECT_EQ(short_duration(59.6), "1m00s");
  EXPECT_EQ(short_duration(200), "3m20s");
  EXPECT_EQ(short_duration(3600 * 5 + 7 * 60 + 59), "5h07m");
  EXPECT_EQ(short_duration(-1), "-");
  EXPECT_EQ(short_duration(INFINITY), "-");
}

}  // namespace
}  // namespace thinwire::launch
